"""API keys in memory, refreshed from the catalogue, so that no request waits for the database."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from indexer.catalogue.api_keys import ApiKeys
from indexer.domain.api_key import ApiKey
from service.auth.roles import Role

_KEY = re.compile(r"ts_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class NewApiKey:
    """A key with its token, which clients send and which is not stored."""

    key: ApiKey
    token: str


def generate_api_key(
    name: str,
    role: Role,
    days: float | None = None,
    requests_per_minute: int | None = None,
    subject: str | None = None,
) -> NewApiKey:
    """Make a key that the catalogue does not hold yet. days: until it expires; None never. subject: of a session."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    expires = None if days is None else now + timedelta(days=days)
    key = ApiKey(key_id, name, role.word, _digest(secret), now, expires, None, requests_per_minute, subject)
    return NewApiKey(key, f"ts_{key_id}_{secret}")


class ApiKeyCache:
    """The usable keys by id, as the catalogue held them at the last refresh."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._known: Mapping[str, ApiKey] = {}
        self._changing = threading.Lock()  # lest a key that was read before its end come back after it

    def refresh(self) -> None:
        """Load the keys from the catalogue."""
        with self._changing:
            self._known = {key.id: key for key in self._keys.list()}

    def learn(self, key: ApiKey) -> None:
        """Add or update a key that was just created or revoked here."""
        with self._changing:
            self._known = {**self._known, key.id: key}

    def find(self, key_id: str | None) -> ApiKey | None:
        """The key with an id, whether it is usable or not."""
        return None if key_id is None else self._known.get(key_id)

    def knows(self, token: str) -> bool:
        """Whether a refresh cannot help: the key is known, or the token is malformed."""
        parts = _KEY.fullmatch(token)
        return parts is None or parts[1] in self._known

    def check(self, token: str) -> ApiKey | None:
        """The key that a token opens with; None for one that is malformed, unknown, wrong, expired or revoked."""
        parts = _KEY.fullmatch(token)
        key_id, secret = (parts[1], parts[2]) if parts else ("", "")
        key = self._known.get(key_id)
        # The same work, in constant time, whether the id exists or not.
        matches = hmac.compare_digest(key.digest if key else _NOBODY, _digest(secret))
        return key if key is not None and matches and key.usable(datetime.now(UTC)) else None


def _digest(secret: str) -> str:
    # A fast hash is right here: the secret is 256 random bits, which no amount of guessing finds, so the slowness that
    # protects passwords would only slow down every request.
    return hashlib.sha256(secret.encode()).hexdigest()
