"""API keys, and sessions of people, which are keys too; without their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ApiKey:
    """A key. digest: sha256 (hex) of its secret; requests_per_minute: its own limit, None for the service's.

    subject: who has signed in, as their identity provider knows them, if the key is a session; else None.
    """

    id: str
    name: str
    role: str
    digest: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None
    subject: str | None = None

    def usable(self, now: datetime) -> bool:
        """Whether it opens anything at this moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
