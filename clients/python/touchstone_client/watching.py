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
    """What has been seen, by the service's own times: the clock of the client's machine may be wrong.

    start: inspections before it are not new; None where `was_there` says which are not.
    """

    matching: InspectionQuery
    start: datetime | None
    _seen: dict[str, datetime] = field(default_factory=dict)

    def was_there(self, each: Inspection) -> bool:
        """Take the next older inspection for seen; False once those before it are too old to be asked for again."""
        self._seen[each.id] = each.at
        return each.at >= max(self._seen.values()) - _OVERLAP

    def query(self) -> InspectionQuery:
        """What to ask for now."""
        latest = max(self._seen.values(), default=None)
        bounds = (self.matching.since, self.start, latest and latest - _OVERLAP)
        return replace(self.matching, since=max((each for each in bounds if each is not None), default=None))

    def fresh(self, found: Iterable[Inspection]) -> list[Inspection]:
        """Those of an answer to `query` that are new, oldest first."""
        new = sorted((each for each in found if each.id not in self._seen), key=lambda each: (each.at, each.id))
        self._seen.update((each.id, each.at) for each in new)
        if self._seen:
            horizon = max(self._seen.values()) - 2 * _OVERLAP
            self._seen = {key: at for key, at in self._seen.items() if at >= horizon}
        return new
