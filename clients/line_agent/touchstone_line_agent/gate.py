"""One station's decisions on their way out: in order, none late, and again until a gate has it or it is too late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence

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
    """Tells every acting sink of a station, each at its own pace: one that is away keeps no other waiting.

    trouble: by sink, what it last failed with, until it works again.
    """

    def __init__(self, station: str, sinks: Sequence[DecisionSink], metrics: Metrics) -> None:
        self._station = station
        self._sinks = sinks
        self._metrics = metrics
        self._told_a_part = False
        self._turns = {sink.name: asyncio.Lock() for sink in sinks}  # whoever comes first, goes first
        self.trouble = {sink.name: "not reached yet" for sink in sinks}

    def tell(self, part: Part, decided: Decided, deadline: float) -> Awaitable[Mapping[str, str]]:
        """Begin to tell a decision: every sink hears it after those before. Awaited: by sink, why it was not told.

        deadline: of the part, on the event loop's clock.
        """
        self._told_a_part = True
        return asyncio.ensure_future(self._tell_all(part, decided, deadline))

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

    async def _tell_all(self, part: Part, decided: Decided, deadline: float) -> Mapping[str, str]:
        answers = await asyncio.gather(*(self._tell_one(sink, part, decided, deadline) for sink in self._sinks))
        return {sink.name: why for sink, why in zip(self._sinks, answers, strict=True) if why is not None}

    async def _tell_one(self, sink: DecisionSink, part: Part, decided: Decided, deadline: float) -> str | None:
        """Tell one sink, over as many connections as it takes and time allows; why it was not told, if so."""
        async with self._turns[sink.name]:
            why = await self._try(sink, part, decided, deadline + GRACE_S)
        if why is None:
            self.trouble.pop(sink.name, None)
            return None
        self.trouble[sink.name] = why
        self._metrics.not_sent.labels(self._station, sink.name).inc()
        log.error("%s: part %s: the decision was not sent to %s: %s", self._station, part.key, sink.name, why)
        return why

    async def _try(self, sink: DecisionSink, part: Part, decided: Decided, until: float) -> str | None:
        clock, why = asyncio.get_running_loop().time, self.trouble.get(sink.name, "no answer in time")
        while clock() < until:
            try:
                async with asyncio.timeout_at(until):
                    await sink.signal(part, decided)
            except TimeoutError:
                pass
            except SinkFailed as error:
                why = str(error)
            except Exception as error:
                log.exception("%s: %s: unexpected", self._station, sink.name)
                why = f"{sink.name}: unexpected {type(error).__name__}: {error}"
            else:
                return None
            self._metrics.sink_failures.labels(self._station, sink.name).inc()
            await asyncio.sleep(_AGAIN_S)
        return why

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
