"""A station's records on their way to the sinks that keep them: in order, however long a sink is away."""

from __future__ import annotations

import asyncio
import logging
from asyncio import to_thread
from collections.abc import Callable, Sequence

from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Record
from touchstone_line_agent.sinks import RecordFailed, RecordRefused, RecordSink, SinkFailed
from touchstone_line_agent.station_store import StationStore

log = logging.getLogger("touchstone.line_agent")

_LONGEST_PAUSE_S = 5.0
_MOST_FAILURES = 3  # of a sink that is there, on one record


class Delivery:
    """Hands records to each sink at its own pace. One that a sink refuses for good holds none of those after it."""

    def __init__(
        self,
        station: str,
        sinks: Sequence[RecordSink],
        store: StationStore,
        metrics: Metrics,
        report: Callable[[str, str], None],
    ) -> None:
        self._station = station
        self._sinks = [sink.name for sink in sinks]
        self._store = store
        self._parts = store.parts
        self._metrics = metrics
        self._report = report

    async def run(self, sink: RecordSink) -> None:
        """Deliver to one sink until cancelled."""
        pause, failures = 0.0, 0
        while True:
            found = await to_thread(self._parts.next_record, self._station, sink.name)
            if found is None:
                await self._store.wait()
                continue
            record, picture = found
            try:
                await sink.deliver(record, picture)
            except RecordRefused as error:
                await self._pass_over(sink, record, error)
            except SinkFailed as error:
                failures = failures + 1 if isinstance(error, RecordFailed) else 0
                later = await self._deliver_later_one(sink, record) if failures >= _MOST_FAILURES else None
                if later is None:
                    self._report(sink.name, str(error))
                    self._metrics.sink_failures.labels(self._station, sink.name).inc()
                    pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.1)
                    await asyncio.sleep(pause)
                    continue
                await self._pass_over(sink, record, error)
                await self._delivered(sink, later)
            else:
                await self._delivered(sink, record)
            pause, failures = 0.0, 0
            self._report(sink.name, "")
            await self.settle()

    async def settle(self) -> None:
        """Let go of the pictures of parts whose records every sink has."""
        await self._store.write(self._parts.settle, self._station, self._sinks)

    async def _delivered(self, sink: RecordSink, record: Record) -> None:
        await self._store.write(self._parts.delivered, self._station, sink.name, record)
        self._metrics.delivered.labels(self._station, sink.name).inc()

    async def _pass_over(self, sink: RecordSink, record: Record, error: SinkFailed) -> None:
        log.error("%s: the record of part %s was not sent to %s: %s", self._station, record.part.key, sink.name, error)
        await self._store.write(self._parts.not_taken, self._station, sink.name, record, str(error))
        self._metrics.not_taken.labels(self._station, sink.name).inc()

    async def _deliver_later_one(self, sink: RecordSink, record: Record) -> Record | None:
        """The next record, if the sink takes that: then it fails on the record, and is not itself away."""
        found = await to_thread(self._parts.next_record, self._station, sink.name, record)
        if found is None:
            return None
        try:
            await sink.deliver(*found)
        except SinkFailed:
            return None
        return found[0]
