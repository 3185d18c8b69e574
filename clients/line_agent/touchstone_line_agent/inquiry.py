"""What a station asks the service about a part, and what its answers mean for the part."""

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
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Finding, Part

log = logging.getLogger("touchstone.line_agent")

_LONGEST_PAUSE_S = 5.0
# What the service, or a proxy before it, answers for the sake of this one part: asking again would change nothing.
_REFUSALS = frozenset({400, 413, 415, 422})
_MOST_FAILURES = 3  # of a service that is ready, on one part
_UNRECORDED = {
    False: "the service did not record it",
    None: "the service could not tell whether it recorded it",
}


class Inquiry:
    """Asks for one station. quick: a client that tries again soon and often; patient: one that tries once."""

    def __init__(
        self,
        settings: config.Station,
        quick: AsyncClient,
        patient: AsyncClient,
        metrics: Metrics,
        report: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._quick = quick
        self._patient = patient
        self._metrics = metrics
        self._report = report
        self._turns = asyncio.Semaphore(settings.at_once)
        self._noticed: set[str] = set()  # kinds of notices that the log has

    async def ask_in_time(self, part: Part, data: bytes, deadline: float) -> Finding | None:
        """The service's finding, or None when there is none by the deadline, for whatever reason."""
        name = self._settings.name
        try:
            async with asyncio.timeout_at(deadline), self._turns:
                return await self._ask(self._quick, part, data)
        except TimeoutError:
            log.warning("%s: part %s: no verdict in time", name, part.key)
        except TouchstoneError as error:
            log.warning("%s: part %s: %s", name, part.key, error)
        except Exception:  # whatever it was, the gate has to be told
            self._log_unexpected(part)
        return None

    async def ask(self, part: Part, data: bytes) -> Finding:
        """The service's finding, however long it is away; that the part is refused, when it fails on this one only."""
        pause, failures = 0.0, 0
        while True:
            try:
                return await self._ask(self._patient, part, data)
            except Exception as error:
                if not isinstance(error, TouchstoneError):
                    self._log_unexpected(part)
                self._report("service", str(error))
                passing = isinstance(error, TouchstoneError) and not isinstance(error, InternalError | InvalidResponse)
                failures = 0 if passing or not await self._is_ready() else failures + 1
                if failures == _MOST_FAILURES:
                    return self._refused(part, f"the service failed on it {failures} times: {error}")
                pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.1)
                await asyncio.sleep(pause)

    async def _ask(self, client: AsyncClient, part: Part, data: bytes) -> Finding:
        """One inspection under the part's key. TouchstoneError when there is no answer that settles the matter."""
        try:
            found = await client.inspect(
                ImageFile(part.filename, data),
                category=self._settings.category,
                part_id=part.part_id,
                station=self._settings.name,
                idempotency_key=part.key,
                bit_depth=self._settings.bit_depth,
            )
        except Problem as problem:
            if problem.details.status not in _REFUSALS:
                raise
            return self._refused(part, str(problem))
        self._report("service", "")
        for notice in found.notices:
            if notice.kind not in self._noticed:  # the same of every part from now on: said once
                self._noticed.add(notice.kind)
                log.warning("%s: part %s: %s", self._settings.name, part.key, notice.detail)
        detail = _UNRECORDED.get(found.recorded)
        return Finding("inspected", found.verdict, found.score, found.threshold, found.category, found.id, detail)

    def _refused(self, part: Part, why: str) -> Finding:
        log.error("%s: part %s is refused: %s", self._settings.name, part.key, why)
        self._report("service", "")  # it answers
        return Finding("refused", detail=why)

    async def _is_ready(self) -> bool:
        """Whether the service says that it can inspect: then it fails on a part, and is not itself broken."""
        try:
            await self._patient.ready()
        except (Unavailable, ConnectionFailed, InternalError, InvalidResponse):
            return False
        except TouchstoneError:  # nothing that speaks of readiness is there, but something answers as it should
            return True
        return True

    def _log_unexpected(self, part: Part) -> None:
        log.exception("%s: part %s: unexpected", self._settings.name, part.key)
        self._metrics.unexpected.labels(self._settings.name, "inspecting").inc()
