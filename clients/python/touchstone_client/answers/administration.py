"""Who may do what, and who did what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Role = Literal["line", "engineer", "admin"]


@dataclass(frozen=True)
class Access:
    """Who is asking. access: `open` where nobody is asked for a key, and everybody is an admin."""

    access: Literal["keys", "open"]
    name: str
    key_id: str | None
    role: Role


@dataclass(frozen=True)
class Key:
    """A key, without its secret. requests_per_minute: its own limit; None for the service's, 0 for none."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None


@dataclass(frozen=True, kw_only=True)
class NewKey(Key):
    """A key that was just made. token: what its holder gives to a client as `key`; shown this once."""

    token: str = field(repr=False)


@dataclass(frozen=True)
class KeysAnswer:
    """Every key, oldest first."""

    keys: tuple[Key, ...]


@dataclass(frozen=True)
class AuditEntry:
    """One change. before, after: what was different."""

    id: int
    at: datetime
    actor: str
    key_id: str | None
    request_id: str | None
    action: str
    target: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True)
class AuditPage:
    """Some changes, newest first; next_cursor continues."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None
