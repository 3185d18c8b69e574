"""One station's decisions on their way out: in order, none late, and again until a gate has it or it is too late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from touchstone_line_agent.config import Decision
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Decided, Part
from touchstone_line_agent.sinks import DecisionSink, SinkFailed

log = logging.getLogger("touchstone.line_agent")

GRACE_S = 1.0  # beyond its deadline, a decision is no longer told: it would meet another part
_AGAIN_S = 0.05  # between two attempts to tell one
_LOOK_S = 0.5  # between two looks at a connection that nothing is sent over
_LEAVE_S = 1.0


class Gate:
    """Tells every acting sink of a station. trouble: by sink, what it last failed with, until it works again."""

    def __init__(self, station: str, sinks: Sequence[DecisionSink], metrics: Metrics) -> None:
        self._station = station
        self._sinks = sinks
        self._metrics = metrics
        self._told_a_part = False
        self.trouble = {sink.name: "not reached yet" for sink in sinks}

    async def tell(self, part: Part, decided: Decided, deadline: float) -> Decided:
        """Tell a decision and return it, with what could not be told; when it is too late, tell nothing and say so.

        deadline: of the part, on the event loop's clock.
        """
        if asyncio.get_running_loop().time() > deadline + GRACE_S:
            return Decided("missed", "late", None)
        self._told_a_part = True
        answers = await asyncio.gather(*(self._tell_one(sink, part, decided, deadline) for sink in self._sinks))
        return replace(decided, not_sent={sink: why for sink, why in answers if why is not None})

    async def keep(self, safe: Decision) -> None:
        """For ever: bring every sink to the safe state before the first part, and keep its connection up."""
        await asyncio.gather(*(self._keep_one(sink, safe) for sink in self._sinks))

    async def leave(self, safe: Decision) -> None:
        """At the end: leave the safe state behind, where that can be done at once, and disconnect."""
        for sink in self._sinks:
            try:
                async with asyncio.timeout(_LEAVE_S):
                    await sink.rest(Decided(safe, "fail-safe", None))
            except (SinkFailed, TimeoutError) as error:
                log.warning("%s: %s is not left in its safe state: %s", self._station, sink.name, error)
            await sink.close()

    async def _tell_one(
        self, sink: DecisionSink, part: Part, decided: Decided, deadline: float
    ) -> tuple[str, str | None]:
        """Tell one sink, over as many connections as it takes and time allows; why it was not told, if so."""
        clock, why = asyncio.get_running_loop().time, "no answer in time"
        while True:
            try:
                async with asyncio.timeout_at(deadline + GRACE_S):
                    await sink.signal(part, decided)
            except TimeoutError:
                break
            except SinkFailed as error:
                why = str(error)
            except Exception as error:
                log.exception("%s: %s: unexpected", self._station, sink.name)
                why = f"{sink.name}: unexpected {type(error).__name__}: {error}"
            else:
                self.trouble.pop(sink.name, None)
                return sink.name, None
            self._metrics.sink_failures.labels(self._station, sink.name).inc()
            if clock() + _AGAIN_S >= deadline + GRACE_S:
                break
            await asyncio.sleep(_AGAIN_S)
        self.trouble[sink.name] = why
        self._metrics.not_sent.labels(self._station, sink.name).inc()
        log.error("%s: part %s: the decision was not sent to %s: %s", self._station, part.key, sink.name, why)
        return sink.name, why

    async def _keep_one(self, sink: DecisionSink, safe: Decision) -> None:
        safe_already = False
        while True:
            try:
                if safe_already or self._told_a_part:
                    await sink.connect()
                else:
                    await sink.rest(Decided(safe, "fail-safe", None))
                    safe_already = True
            except SinkFailed as error:
                self._say(sink, str(error))
            except Exception as error:
                log.exception("%s: %s: unexpected", self._station, sink.name)
                self._say(sink, f"{sink.name}: unexpected {type(error).__name__}: {error}")
            else:
                self.trouble.pop(sink.name, None)
            await asyncio.sleep(_LOOK_S)

    def _say(self, sink: DecisionSink, what: str) -> None:
        if self.trouble.get(sink.name) != what:
            log.warning("%s: %s", self._station, what)
        self.trouble[sink.name] = what
