"""What a line agent last reported of one of its stations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from indexer.domain.json_types import JsonObject

SILENT_AFTER = timedelta(seconds=12)  # agents report every three seconds
FORGOTTEN_AFTER = timedelta(days=30)
MAX_STATIONS = 500


@dataclass(frozen=True)
class ReportedStation:
    """reported_at: when the report came, by the clock of the service that received it. report: as the agent sent it."""

    name: str
    reported_at: datetime
    report: JsonObject

    def is_silent(self, now: datetime) -> bool:
        """Whether its agent has stopped reporting."""
        return now - self.reported_at > SILENT_AFTER
