"""Finds new inspections by polling: which inspections of a response have not been seen before."""

from __future__ import annotations

import calendar
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate

import httpx

from touchstone_client import endpoints
from touchstone_client.endpoints import Call
from touchstone_client.models import Inspection, InspectionPage
from touchstone_client.parameters import InspectionFilter

# An inspection gets its time before it is stored: one may appear after another with a later time.
_OVERLAP = timedelta(seconds=10)
_PAGE = 500
_RESOLUTION = timedelta(seconds=1)  # of a response's date


@dataclass(frozen=True)
class DatedPage:
    """A page of inspections. answered_at: by the service's clock, to the second; None when the response has no date."""

    page: InspectionPage
    answered_at: datetime | None

    @property
    def next_cursor(self) -> str | None:
        """Continues; None on the last page."""
        return self.page.next_cursor


def _date(response: httpx.Response) -> datetime | None:
    parts = parsedate(response.headers.get("date", ""))
    return None if parts is None else datetime.fromtimestamp(calendar.timegm(parts), UTC)


@dataclass
class InspectionPoller:
    """Remembers the inspections seen so far, by the service's times: this machine's clock may be wrong.

    The service's clock may be set back, too. From then on inspections are new whose times are before those of earlier
    ones; one of the seconds before that may be returned twice. start: older inspections are not new; None when
    `mark_seen` says which ones are not.
    """

    filter: InspectionFilter
    start: datetime | None
    _seen: dict[str, datetime] = field(default_factory=dict)
    _since: datetime | None = None  # what is older has been seen
    _is_set_back: bool = False  # whether the clock was, when the latest poll was answered
    _answered_at: datetime | None = None
    _polled_at: float = field(default_factory=time.monotonic)

    def mark_seen(self, inspection: Inspection) -> bool:
        """Mark the next older inspection as not new; False once older ones can no longer be selected by `call`."""
        self._seen[inspection.id] = inspection.at
        self._since = max(self._seen.values()) - _OVERLAP
        return inspection.at >= self._since

    def call(self, cursor: str | None) -> Call[DatedPage]:
        """A page of the next poll."""
        bounds = (self.filter.since, self.start, self._since)
        filter = replace(self.filter, since=max((bound for bound in bounds if bound is not None), default=None))
        call = endpoints.inspections(filter, cursor, _PAGE)
        return Call(
            call.method, call.route, lambda answer: DatedPage(call.parse(answer), _date(answer)), query=call.query
        )

    def new(self, pages: Sequence[DatedPage]) -> list[Inspection]:
        """The inspections of a poll, of at least one page, that have not been seen before, oldest first."""
        now, pause = pages[-1].answered_at, timedelta(seconds=time.monotonic() - self._polled_at)
        unseen = [item for dated in pages for item in dated.page.inspections if item.id not in self._seen]
        self._seen.update((inspection.id, inspection.at) for inspection in unseen)
        latest = max(self._seen.values(), default=None)
        if self._is_set_back and now is not None:  # what is ahead of the clock was recorded before that
            unseen = [inspection for inspection in unseen if inspection.at <= now + _RESOLUTION]
        expected = latest if self._answered_at is None else self._answered_at + pause
        self._is_set_back = now is not None and expected is not None and now < expected - _OVERLAP
        if latest is not None:
            behind = latest if now is None else min(latest, now)
            self._since = behind - _OVERLAP - (pause if self._is_set_back else timedelta())
            self._seen = {key: at for key, at in self._seen.items() if at >= behind - 2 * _OVERLAP - pause}
        self._answered_at, self._polled_at = now, self._polled_at + pause.total_seconds()
        return sorted(unseen, key=lambda inspection: (inspection.at, inspection.id))
