"""The table of API keys, without their secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, delete, insert, or_, select, update

from indexer.catalogue.access_tables import KeyRow
from indexer.catalogue.audit import note
from indexer.catalogue.transactions import Transactions
from indexer.domain.api_key import ApiKey
from indexer.domain.errors import ApiKeyNotFound


class ApiKeys:
    """The keys of one data folder. A revoked key stays listed, so that the audit trail's names mean something.

    A session does not, since there are many: the audit trail tells of its begin and who it was of.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def list(self) -> tuple[ApiKey, ...]:
        """Every key, oldest first, revoked and expired ones too."""
        with self._transactions.reading() as connection:
            rows = connection.execute(select(KeyRow.__table__).order_by(KeyRow.created_at, KeyRow.id))
            return tuple(map(_key, rows))

    def create(self, key: ApiKey) -> ApiKey:
        """Keep a new key. A session takes the place of those that have ended."""
        with self._transactions.writing() as connection:
            if key.subject is not None:
                ended = or_(KeyRow.expires_at <= key.created_at, KeyRow.revoked_at.is_not(None))
                connection.execute(delete(KeyRow).where(KeyRow.subject.is_not(None), ended))
            connection.execute(insert(KeyRow).values(**vars(key)))
            note(connection, "key.created", key.id, after=_shown(key))
        return key

    def revoke(self, key_id: str) -> ApiKey:
        """End a key; ending it again changes nothing. Raises ApiKeyNotFound."""
        with self._transactions.writing() as connection:
            row = connection.execute(select(KeyRow.__table__).where(KeyRow.id == key_id)).one_or_none()
            if row is None:
                raise ApiKeyNotFound(f"there is no key {key_id!r}")
            key = _key(row)
            if key.revoked_at is not None:
                return key
            now = datetime.now(UTC)
            connection.execute(update(KeyRow).where(KeyRow.id == key_id).values(revoked_at=now))
            note(connection, "key.revoked", key_id, before=_shown(key))
            return ApiKey(**{**vars(key), "revoked_at": now})


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(**row._mapping)


def _shown(key: ApiKey) -> dict[str, Any]:
    expires = None if key.expires_at is None else key.expires_at.isoformat()
    shown = {"name": key.name, "role": key.role, "expires_at": expires, "requests_per_minute": key.requests_per_minute}
    return shown if key.subject is None else {**shown, "subject": key.subject}
