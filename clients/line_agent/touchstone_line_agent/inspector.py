"""Has the service inspect a station's parts, and interprets its responses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from touchstone_client import (
    AsyncClient,
    ConnectionFailed,
    ImageFile,
    InternalError,
    InvalidResponse,
    Problem,
    TouchstoneError,
    Unavailable,
)
from touchstone_line_agent import config
from touchstone_line_agent.backoff import Backoff
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part import InspectionResult, Part

log = logging.getLogger("touchstone.line_agent")

# The service, or a proxy in front of it, rejects this part: a retry would change nothing.
_REJECTING_STATUSES = frozenset({400, 413, 415, 422})
_MAX_FAILURES = 3  # of a ready service, on one part
_UNRECORDED = {
    False: "the service did not record it",
    None: "the service could not say whether it recorded it",
}


class Inspector:
    """Inspects the parts of one station.

    deadline_client: retries until a part's deadline. backlog_client: makes one attempt. report: receives errors by
    name, and an empty text when they are over.
    """

    def __init__(
        self,
        settings: config.Station,
        deadline_client: AsyncClient,
        backlog_client: AsyncClient,
        metrics: Metrics,
        report: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._deadline_client = deadline_client
        self._backlog_client = backlog_client
        self._metrics = metrics
        self._report = report
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        self._logged_notices: set[str] = set()  # kinds

    async def inspect_by(self, part: Part, data: bytes, deadline: float) -> InspectionResult | None:
        """The service's result, or None when there is none by the deadline, for whatever reason."""
        name = self._settings.name
        try:
            async with asyncio.timeout_at(deadline), self._slots:
                waits = self._settings.wait_for_recording
                return await self._inspect(self._deadline_client, part, data, wait_for_recording=waits)
        except TimeoutError:
            log.warning("%s: part %s: no verdict in time", name, part.key)
        except TouchstoneError as error:
            log.warning("%s: part %s: %s", name, part.key, error)
        except Exception:  # the gate needs a decision whatever happened
            self._log_unexpected(part)
        return None

    async def inspect_eventually(self, part: Part, data: bytes) -> InspectionResult:
        """The service's result, however long the service is unavailable; `refused` when it fails on this part only."""
        backoff, failures = Backoff(), 0
        while True:
            try:
                return await self._inspect(self._backlog_client, part, data, wait_for_recording=True)
            except Exception as error:
                if not isinstance(error, TouchstoneError):
                    self._log_unexpected(part)
                self._report("service", str(error))
                transient = isinstance(error, TouchstoneError) and not isinstance(
                    error, InternalError | InvalidResponse
                )
                failures = 0 if transient or not await self._is_ready() else failures + 1
                if failures == _MAX_FAILURES:
                    return self._refused(part, f"the service failed on it {failures} times: {error}")
                await backoff.wait()

    async def _inspect(
        self, client: AsyncClient, part: Part, data: bytes, *, wait_for_recording: bool
    ) -> InspectionResult:
        """Make one attempt under the part's key. TouchstoneError when there is neither a result nor a rejection."""
        try:
            detection = await client.inspect(
                ImageFile(part.filename, data),
                category=self._settings.category,
                part_id=part.part_id,
                station=self._settings.name,
                idempotency_key=part.key,
                bit_depth=self._settings.bit_depth,
                wait_for_recording=wait_for_recording,
            )
        except Problem as problem:
            if problem.details.status not in _REJECTING_STATUSES:
                raise
            return self._refused(part, str(problem))
        self._report("service", "")
        for notice in detection.notices:
            if notice.kind not in self._logged_notices:  # later parts have the same notice: logged once
                self._logged_notices.add(notice.kind)
                log.warning("%s: part %s: %s", self._settings.name, part.key, notice.detail)
        awaited = wait_for_recording or detection.recorded is not None
        return InspectionResult(
            "inspected",
            detection.verdict,
            detection.score,
            detection.threshold,
            detection.category,
            detection.id,
            _UNRECORDED.get(detection.recorded) if awaited else None,
        )

    def _refused(self, part: Part, reason: str) -> InspectionResult:
        log.error("%s: part %s is refused: %s", self._settings.name, part.key, reason)
        self._report("service", "")  # it responds
        return InspectionResult("refused", detail=reason)

    async def _is_ready(self) -> bool:
        """Whether the service reports that it can inspect: then a failure is the part's and not the service's."""
        try:
            await self._backlog_client.ready()
        except (Unavailable, ConnectionFailed, InternalError, InvalidResponse):
            return False
        except TouchstoneError:  # no /readyz, but something responds as it should
            return True
        return True

    def _log_unexpected(self, part: Part) -> None:
        log.exception("%s: part %s: unexpected", self._settings.name, part.key)
        self._metrics.unexpected.labels(self._settings.name, "inspecting").inc()
