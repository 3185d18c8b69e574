"""One station's decisions on their way out: in order, each once, none late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from touchstone_line_agent.config import Decision
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Decided, Part
from touchstone_line_agent.sinks import DecisionSink, SinkFailed

log = logging.getLogger("touchstone.line_agent")

GRACE_S = 1.0  # beyond its deadline, a decision is no longer told: it would meet another part
_AGAIN_S = 1.0


class Gate:
    """Tells every acting sink of a station. trouble: by sink, what it last failed with, until it works again."""

    def __init__(self, station: str, sinks: Sequence[DecisionSink], metrics: Metrics) -> None:
        self._station = station
        self._sinks = sinks
        self._metrics = metrics
        self._told_a_part = False
        self.trouble = {sink.name: "not reached yet" for sink in sinks}

    async def tell(self, part: Part, decided: Decided, deadline: float) -> Decided:
        """Tell a decision and return it; when it is too late for that, tell nothing and say so.

        deadline: of the part, on the event loop's clock.
        """
        if asyncio.get_running_loop().time() > deadline + GRACE_S:
            return Decided("missed", "late", None)
        self._told_a_part = True
        await asyncio.gather(*(self._tell_one(sink, part, decided, deadline) for sink in self._sinks))
        return decided

    async def rest(self, safe: Decision) -> None:
        """Before the first part: bring every sink to the safe state, however long it takes to reach it."""
        await asyncio.gather(*(self._rest_one(sink, safe) for sink in self._sinks))

    async def leave(self, safe: Decision) -> None:
        """At the end: leave the safe state behind, where that can be done at once, and disconnect."""
        for sink in self._sinks:
            try:
                async with asyncio.timeout(_AGAIN_S):
                    await sink.rest(Decided(safe, "fail-safe", None))
            except (SinkFailed, TimeoutError) as error:
                log.warning("%s: %s is not left in its safe state: %s", self._station, sink.name, error)
            await sink.close()

    async def _tell_one(self, sink: DecisionSink, part: Part, decided: Decided, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline + GRACE_S):
                await sink.signal(part, decided)
        except (SinkFailed, TimeoutError) as error:
            self._failed(sink, str(error) or "no answer in time")
            log.error("%s: part %s was not told to %s: %s", self._station, part.key, sink.name, error)
        else:
            self.trouble.pop(sink.name, None)

    async def _rest_one(self, sink: DecisionSink, safe: Decision) -> None:
        while not self._told_a_part:
            try:
                await sink.rest(Decided(safe, "fail-safe", None))
            except SinkFailed as error:
                self._failed(sink, str(error))
                await asyncio.sleep(_AGAIN_S)
            else:
                self.trouble.pop(sink.name, None)
                return

    def _failed(self, sink: DecisionSink, what: str) -> None:
        self.trouble[sink.name] = what
        self._metrics.sink_failures.labels(self._station, sink.name).inc()
