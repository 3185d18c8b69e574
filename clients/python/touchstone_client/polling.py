"""Finds new inspections by polling: which inspections of a response have not been seen before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from touchstone_client.models import Inspection
from touchstone_client.parameters import InspectionFilter

# An inspection gets its time before it is stored: one may appear after another with a later time.
_OVERLAP = timedelta(seconds=10)


@dataclass
class InspectionPoller:
    """Remembers the inspections seen so far, by the service's times: this machine's clock may be wrong.

    start: older inspections are not new; None when `mark_seen` says which ones are not.
    """

    filter: InspectionFilter
    start: datetime | None
    _seen: dict[str, datetime] = field(default_factory=dict)

    def mark_seen(self, inspection: Inspection) -> bool:
        """Mark the next older inspection as not new; False once older ones can no longer be selected by `query`."""
        self._seen[inspection.id] = inspection.at
        return inspection.at >= max(self._seen.values()) - _OVERLAP

    def query(self) -> InspectionFilter:
        """The filter of the next poll."""
        latest = max(self._seen.values(), default=None)
        bounds = (self.filter.since, self.start, latest and latest - _OVERLAP)
        return replace(self.filter, since=max((bound for bound in bounds if bound is not None), default=None))

    def new(self, inspections: Iterable[Inspection]) -> list[Inspection]:
        """The inspections of a poll that have not been seen before, oldest first."""
        unseen = [inspection for inspection in inspections if inspection.id not in self._seen]
        unseen.sort(key=lambda inspection: (inspection.at, inspection.id))
        self._seen.update((inspection.id, inspection.at) for inspection in unseen)
        if self._seen:
            horizon = max(self._seen.values()) - 2 * _OVERLAP
            self._seen = {key: at for key, at in self._seen.items() if at >= horizon}
        return unseen
