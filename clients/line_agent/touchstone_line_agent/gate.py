"""Sends a station's decisions to its gates: in order, with retries, and never after they have expired."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence

from touchstone_line_agent.config import Decision
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part import GateDecision, Part
from touchstone_line_agent.sinks import DecisionSink, SinkFailed
from touchstone_line_agent.station_status import StationStatus

log = logging.getLogger("touchstone.line_agent")

GRACE_S = 1.0  # after its deadline a decision expires: it would apply to another part
_RETRY_INTERVAL_S = 0.05
_CHECK_INTERVAL_S = 0.5  # of idle connections
_SHUTDOWN_TIMEOUT_S = 1.0


class Gate:
    """Sends to every decision sink of a station independently: an unreachable one delays no other.

    status: has the last failure of a sink among its errors, until the sink works again.
    """

    def __init__(self, station: str, sinks: Sequence[DecisionSink], metrics: Metrics, status: StationStatus) -> None:
        self._station = station
        self._sinks = sinks
        self._metrics = metrics
        self._has_sent = False
        self._locks = {sink.name: asyncio.Lock() for sink in sinks}  # fair: decisions are sent in order
        self._status = status
        status.errors.update({sink.name: "not reached yet" for sink in sinks})

    def send(self, part: Part, decision: GateDecision, deadline: float) -> Awaitable[Mapping[str, str]]:
        """Start to send a decision to every sink, after earlier ones. Awaited: by sink, why it was not received.

        deadline: of the part, on the event loop's clock.
        """
        self._has_sent = True
        return asyncio.ensure_future(self._send_all(part, decision, deadline))

    async def run(self, safe: Decision) -> None:
        """Set every sink to the safe state before the first part, and keep the connections up, until cancelled."""
        await asyncio.gather(*(self._keep_connected(sink, safe) for sink in self._sinks))

    async def shutdown(self, safe: Decision) -> None:
        """Set every reachable sink to the safe state, and disconnect."""
        for sink in self._sinks:
            try:
                async with asyncio.timeout(_SHUTDOWN_TIMEOUT_S):
                    await sink.set_safe(GateDecision(safe, "fail-safe", None))
            except (SinkFailed, TimeoutError) as error:
                log.warning("%s: %s is not left in its safe state: %s", self._station, sink.name, error)
            except Exception:  # the other gates are to be left in theirs
                log.exception("%s: %s is not left in its safe state: unexpected", self._station, sink.name)
            await sink.close()

    async def _send_all(self, part: Part, decision: GateDecision, deadline: float) -> Mapping[str, str]:
        errors = await asyncio.gather(*(self._send_one(sink, part, decision, deadline) for sink in self._sinks))
        return {sink.name: error for sink, error in zip(self._sinks, errors, strict=True) if error is not None}

    async def _send_one(self, sink: DecisionSink, part: Part, decision: GateDecision, deadline: float) -> str | None:
        """Send to one sink until it succeeds or the decision expires; returns why it was not received."""
        async with self._locks[sink.name]:
            error = await self._retry(sink, part, decision, deadline + GRACE_S)
        self._status.report(sink.name, error or "")
        if error is None:
            self._status.received("gate", sink.name)
            return None
        self._metrics.not_sent.labels(self._station, sink.name).inc()
        log.error("%s: part %s: the decision was not sent to %s: %s", self._station, part.key, sink.name, error)
        return error

    async def _retry(self, sink: DecisionSink, part: Part, decision: GateDecision, expires: float) -> str | None:
        clock, message = asyncio.get_running_loop().time, self._status.errors.get(sink.name, "no response in time")
        while clock() < expires:
            try:
                async with asyncio.timeout_at(expires):
                    await sink.send(part, decision)
            except TimeoutError:
                pass
            except SinkFailed as error:
                message = str(error)
            except Exception as error:
                log.exception("%s: %s: unexpected", self._station, sink.name)
                message = f"{sink.name}: unexpected {type(error).__name__}: {error}"
            else:
                return None
            self._metrics.sink_failures.labels(self._station, sink.name).inc()
            await asyncio.sleep(_RETRY_INTERVAL_S)
        return message

    async def _keep_connected(self, sink: DecisionSink, safe: Decision) -> None:
        is_safe = False
        while True:
            try:
                if is_safe or self._has_sent:
                    await sink.connect()
                else:
                    await sink.set_safe(GateDecision(safe, "fail-safe", None))
                    is_safe = True
            except SinkFailed as error:
                self._report(sink, str(error))
            except Exception as error:
                log.exception("%s: %s: unexpected", self._station, sink.name)
                self._report(sink, f"{sink.name}: unexpected {type(error).__name__}: {error}")
            else:
                self._status.report(sink.name, "")
            await asyncio.sleep(_CHECK_INTERVAL_S)

    def _report(self, sink: DecisionSink, error: str) -> None:
        if self._status.errors.get(sink.name) != error:
            log.warning("%s: %s", self._station, error)
        self._status.report(sink.name, error)
