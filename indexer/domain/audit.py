"""The audit trail's entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from indexer.domain.json_types import JsonObject


@dataclass(frozen=True)
class AuditEntry:
    """One change. action: such as `settings.changed`; target: what was changed; before, after: what was different."""

    id: int
    at: datetime
    actor: str
    key_id: str | None
    request_id: str | None
    action: str
    target: str
    before: JsonObject
    after: JsonObject
