"""New inspections as they come: which of a poll's answers have not been seen yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from touchstone_client.answers import Inspection
from touchstone_client.parameters import InspectionQuery

# An inspection is dated before it is written down: one may appear after another that is dated later.
_OVERLAP = timedelta(seconds=10)


@dataclass
class Watch:
    """What has been seen. start: inspections before it are not new."""

    matching: InspectionQuery
    start: datetime
    _seen: dict[str, datetime] = field(default_factory=dict)

    def query(self) -> InspectionQuery:
        """What to ask for now."""
        latest = max(self._seen.values(), default=self.start)
        return replace(self.matching, since=max(self.start, latest - _OVERLAP))

    def fresh(self, found: Iterable[Inspection]) -> list[Inspection]:
        """Those of an answer to `query` that are new, oldest first."""
        new = sorted((each for each in found if each.id not in self._seen), key=lambda each: (each.at, each.id))
        self._seen.update((each.id, each.at) for each in new)
        horizon = max(self._seen.values(), default=self.start) - 2 * _OVERLAP
        self._seen = {key: at for key, at in self._seen.items() if at >= horizon}
        return new
