"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import TypeVar, Unpack

import httpx

from touchstone_client import answers, calls
from touchstone_client.calls import Call
from touchstone_client.connection import connection_settings, interrupted
from touchstone_client.errors import Problem, TouchstoneError
from touchstone_client.onboarding import Onboarded, Progress, onboarding
from touchstone_client.parameters import InspectionQuery, MapFormat, SettingsChanges
from touchstone_client.pictures import Batch, PictureLike
from touchstone_client.policy import NO_RETRIES, Attempts, Retries, Timeouts
from touchstone_client.watching import Watch

T = TypeVar("T")


class Client:
    """Talks to one service. Close it, or use it in a `with` block. Safe for several threads.

    url: where the service listens. key: an access key, where the service wants one. transport: httpx's, for proxies or
    tests. Every method raises a TouchstoneError when it gets no good answer: see `touchstone_client.errors`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeouts: Timeouts = Timeouts(),
        retries: Retries = Retries(),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._timeouts = timeouts
        self._retries = retries
        self._http = httpx.Client(**connection_settings(url, key), transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Inspecting

    def detect(
        self, pictures: Sequence[PictureLike], *, category: str | None = None, part_id: str | None = None,
        station: str | None = None, map: MapFormat = "none", overlay: bool = False, min_version: int | None = None,
        key: str | None = None, bit_depth: answers.BitDepth | None = None,
    ) -> answers.DetectAnswer:  # fmt: skip
        """Inspect pictures; one result per picture, in order. A single picture that cannot be used is PictureRefused.

        key: names this inspection, so that asking again with the same key, even from another process, answers what
        was recorded instead of inspecting twice. Tries within one call always share a key. min_version: compare with no
        older memory than this, such as the version that `onboard` answered, from whichever replica. bit_depth: bits
        that the camera puts into files of 16 a channel; None for what the category has.
        """
        return self._send(calls.detect(pictures, category, part_id, station, map, overlay, min_version, key, bit_depth))

    def inspect(
        self, picture: PictureLike, *, category: str | None = None, part_id: str | None = None,
        station: str | None = None, map: MapFormat = "none", overlay: bool = False, min_version: int | None = None,
        key: str | None = None, bit_depth: answers.BitDepth | None = None,
    ) -> answers.Detection:  # fmt: skip
        """Inspect one picture: `detect` for the usual case."""
        answer = self._send(
            calls.detect([picture], category, part_id, station, map, overlay, min_version, key, bit_depth)
        )
        return calls.only_result(answer)

    # References

    def onboard(
        self, category: str, pictures: Iterable[PictureLike], *, progress: Callable[[Progress], None] | None = None,
        refuse: Sequence[answers.FindingKind] | None = None, batch: Batch = Batch(),
        bit_depth: answers.BitDepth | None = None,
    ) -> Onboarded:  # fmt: skip
        """Make pictures of good parts references of a category, in as many requests as it takes.

        Files are read as they are sent. What was answered is durable, and a call that failed half way may be repeated
        whole: pictures that are references already are duplicates. refuse: findings for which a picture is refused, in
        place of the category's setting. bit_depth: bits that the camera puts into files of 16 a channel; None for what
        the category has, or what the files tell.
        """
        steps = onboarding(category, pictures, refuse, bit_depth, batch, progress)
        try:
            call = next(steps)
            while True:
                try:
                    answer = self._send(call)
                except (Problem, OSError) as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(answer)
        except StopIteration as finished:
            result: Onboarded = finished.value
            return result

    def references(
        self, category: str | None = None, *, removed: bool = False, page_size: int = 500
    ) -> Iterator[answers.Reference]:
        """Live references in order of id, of one category or of all; with `removed`, those taken back instead."""
        cursor: str | None = None
        while True:
            page = self._send(calls.references(category, cursor, page_size, removed))
            yield from page.references
            if (cursor := page.next_cursor) is None:
                return

    def reference(self, reference_id: int) -> answers.Reference:
        """One reference, also when it has been taken back."""
        return self._send(calls.reference(reference_id))

    def reference_image(self, reference_id: int, *, side: int | None = None) -> bytes:
        """A reference's picture, as it was sent; with `side` as JPEG, no side of it longer than so many pixels."""
        return self._send(calls.reference_image(reference_id, side))

    def remove_reference(self, reference_id: int) -> answers.Removed:
        """Take a reference back."""
        return self._send(calls.remove_reference(reference_id))

    def restore_reference(self, reference_id: int) -> answers.Reference:
        """Make a reference that was taken back one again, within 30 days; the live one has an id of its own."""
        return self._send(calls.restore_reference(reference_id))

    # Categories

    def categories(self) -> tuple[answers.Category, ...]:
        """All categories by name."""
        return self._send(calls.categories()).categories

    def category(self, name: str) -> answers.Category:
        """One category."""
        return self._send(calls.category(name))

    def change_category(self, name: str, **changes: Unpack[SettingsChanges]) -> answers.Category:
        """Change some settings, for example `false_reject_rate=0.02`; None resets `layer_weights` and `threshold`."""
        return self._send(calls.change_category(name, changes))

    def remove_category(self, name: str) -> answers.Removed:
        """Take back a category with all its references."""
        return self._send(calls.remove_category(name))

    def preview(self, name: str, *, limit: int = 20, **changes: Unpack[SettingsChanges]) -> answers.Preview:
        """What settings would make of the references and the latest inspections, at most `limit`; nothing is changed.

        Other rates or another threshold are answered at once; for other `k`, `rho`, weights or region, pictures are
        searched again.
        """
        return self._send(calls.preview(name, changes, limit))

    def scores(self, name: str) -> answers.Scores:
        """The leave-one-out scores that a category's threshold rests on; empty until calibrated."""
        return self._send(calls.scores(name))

    def mask(self, name: str) -> bytes:
        """Where pictures of a category are inspected: PNG over the whole picture, 256×256, white is inspected."""
        return self._send(calls.mask(name))

    def set_mask(self, name: str, mask: PictureLike) -> answers.Category:
        """Inspect only where a mask, laid over the whole picture, is not black; polygons go to `change_category`."""
        return self._send(calls.set_mask(name, mask))

    def restart_drift(self, name: str) -> answers.Category:
        """Begin a category's drift test anew, with its flag lowered."""
        return self._send(calls.restart_drift(name))

    # History

    def inspections(
        self, matching: InspectionQuery = InspectionQuery(), *, page_size: int = 500
    ) -> Iterator[answers.Inspection]:
        """Matching inspections, newest first, read page by page as they are taken."""
        cursor: str | None = None
        while True:
            page = self._send(calls.inspections(matching, cursor, page_size))
            yield from page.inspections
            if (cursor := page.next_cursor) is None:
                return

    def inspections_csv(self, matching: InspectionQuery = InspectionQuery()) -> str:
        """Matching inspections as CSV, newest first."""
        return self._send(calls.inspections_csv(matching))

    def trend(self, matching: InspectionQuery = InspectionQuery(), *, points: int = 60) -> answers.Trend:
        """Counts, verdicts and scores of matching inspections over time, in at most so many stretches."""
        return self._send(calls.trend(matching, points))

    def inspection(self, inspection_id: str) -> answers.Inspection:
        """One inspection."""
        return self._send(calls.inspection(inspection_id))

    def inspection_image(self, inspection_id: str, *, side: int | None = None) -> bytes:
        """An inspection's picture, as it was sent; with `side` as JPEG, no side of it longer than so many pixels.

        Once the picture is no longer kept, a small one answers where `side` is given.
        """
        return self._send(calls.inspection_image(inspection_id, side))

    def inspection_map(self, inspection_id: str) -> bytes:
        """An inspection's anomaly map as 16-bit PNG; `maps.array_of_png` makes numbers of it."""
        return self._send(calls.inspection_map(inspection_id))

    def inspection_heat(self, inspection_id: str) -> bytes:
        """An inspection's anomaly map in colours, as PNG to lay over the whole picture."""
        return self._send(calls.inspection_heat(inspection_id))

    def judge(
        self, inspection_id: str, judgement: answers.Judgement | None, *, confirm: bool = False
    ) -> answers.Inspection:
        """Say that the part was good, which makes its picture a reference, or a defect; None takes that back.

        ConfirmationNeeded when the picture would move the threshold far or does not look like the product: show its
        `effect` to somebody, and call again with `confirm` to go on.
        """
        return self._send(calls.judge(inspection_id, judgement, confirm))

    def watch(
        self, matching: InspectionQuery = InspectionQuery(), *, every: float = 1.0, start: datetime | None = None
    ) -> Iterator[answers.Inspection]:
        """New inspections as they come, oldest first, without end; asks every so many seconds.

        start: those from this time on are new; by default those that are recorded after the call. Only the service's
        clock matters.
        """
        seen = Watch(matching, start)
        if start is None:
            for each in self.inspections(matching, page_size=50):
                if not seen.was_there(each):
                    break
        while True:
            yield from seen.fresh(self.inspections(seen.query()))
            time.sleep(every)

    # Administration

    def storage(self) -> answers.Storage:
        """What is kept of each category, by which limits, and how much room is left."""
        return self._send(calls.storage())

    def access(self) -> answers.Access:
        """Who this client is to the service, and what it may do."""
        return self._send(calls.access())

    def keys(self) -> tuple[answers.Key, ...]:
        """Every key, oldest first, also those that have expired or were revoked."""
        return self._send(calls.keys()).keys

    def create_key(
        self, name: str, role: answers.Role, *, expires_in_days: float | None = None,
        requests_per_minute: int | None = None,
    ) -> answers.NewKey:  # fmt: skip
        """Make a key. Tried once only: an Unreachable leaves it open whether there is one now, which `keys` tells."""
        return self._send(calls.create_key(name, role, expires_in_days, requests_per_minute))

    def revoke_key(self, key_id: str) -> answers.Key:
        """End a key."""
        return self._send(calls.revoke_key(key_id))

    def audit(
        self, *, actor: str | None = None, action: str | None = None, target: str | None = None, page_size: int = 500
    ) -> Iterator[answers.AuditEntry]:
        """Every change, newest first, read page by page as they are taken: who, what, when, before and after."""
        cursor: str | None = None
        while True:
            page = self._send(calls.audit(actor, action, target, cursor, page_size))
            yield from page.entries
            if (cursor := page.next_cursor) is None:
                return

    # Health

    def live(self) -> answers.Live:
        """The service's process answers."""
        return self._send(calls.live())

    def ready(self) -> answers.Ready:
        """The service can inspect; Unavailable when it cannot."""
        return self._send(calls.ready())

    def version(self) -> answers.Version:
        """What is running there."""
        return self._send(calls.version())

    def _send(self, call: Call[T]) -> T:
        attempts = Attempts(self._timeouts, self._retries if call.repeatable else NO_RETRIES)
        while True:
            try:
                return self._try(call, attempts.next_timeout())
            except TouchstoneError as error:
                time.sleep(attempts.wait_after(error))

    def _try(self, call: Call[T], timeout: httpx.Timeout) -> T:
        with ExitStack() as files:
            request = call.request(self._http, timeout, files)
            try:
                response = self._http.send(request)
            except httpx.RequestError as error:
                raise interrupted(request, error) from error
            return call.answer(response)
