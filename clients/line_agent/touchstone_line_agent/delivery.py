"""Delivers a station's records to each sink, in order and until the sink has received them."""

from __future__ import annotations

import logging
from asyncio import to_thread
from collections.abc import Sequence

from touchstone_line_agent.backoff import Backoff
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part import Record
from touchstone_line_agent.sinks import RecordFailed, RecordRejected, RecordSink, SinkFailed
from touchstone_line_agent.station_status import StationStatus
from touchstone_line_agent.station_store import StationStore

log = logging.getLogger("touchstone.line_agent")

_MAX_FAILURES = 3  # of an available sink, on one record


class Delivery:
    """Delivers to each sink independently. A record that a sink rejects for good does not block later ones."""

    def __init__(
        self,
        station: str,
        sinks: Sequence[RecordSink],
        store: StationStore,
        metrics: Metrics,
        status: StationStatus,
    ) -> None:
        self._station = station
        self._sinks = [sink.name for sink in sinks]
        self._store = store
        self._parts = store.parts
        self._metrics = metrics
        self._status = status

    async def run(self, sink: RecordSink) -> None:
        """Deliver to one sink until cancelled."""
        backoff, failures = Backoff(), 0
        while True:
            pending = await to_thread(self._parts.next_record, self._station, sink.name)
            if pending is None:
                await self._store.wait_for_change()
                continue
            record, image = pending
            try:
                await self._deliver(sink, record, image)
            except RecordRejected as error:
                await self._skip(sink, record, error)
            except SinkFailed as error:
                failures = failures + 1 if isinstance(error, RecordFailed) else 0
                later = await self._deliver_next(sink, record) if failures >= _MAX_FAILURES else None
                if later is None:
                    self._status.report(sink.name, str(error))
                    self._metrics.sink_failures.labels(self._station, sink.name).inc()
                    await backoff.wait()
                    continue
                await self._skip(sink, record, error)
                await self._mark_delivered(sink, later)
            else:
                await self._mark_delivered(sink, record)
            failures = 0
            backoff.reset()
            self._status.report(sink.name, "")
            await self.prune()

    async def _deliver(self, sink: RecordSink, record: Record, image: bytes | None) -> None:
        """SinkFailed; an unexpected error may be the record's, and does not block later ones for ever either."""
        try:
            await sink.deliver(record, image)
        except SinkFailed:
            raise
        except Exception as error:
            log.exception("%s: %s: part %s: unexpected", self._station, sink.name, record.part.key)
            self._metrics.unexpected.labels(self._station, sink.name).inc()
            raise RecordFailed(f"{sink.name}: unexpected {type(error).__name__}: {error}") from error

    async def prune(self) -> None:
        """Delete the images of parts whose records every sink has."""
        await self._store.write(self._parts.prune, self._station, self._sinks)

    async def _mark_delivered(self, sink: RecordSink, record: Record) -> None:
        await self._store.write(self._parts.mark_delivered, self._station, sink.name, record)
        self._metrics.delivered.labels(self._station, sink.name).inc()
        self._status.received("sink", sink.name)

    async def _skip(self, sink: RecordSink, record: Record, error: SinkFailed) -> None:
        log.error("%s: the record of part %s was not sent to %s: %s", self._station, record.part.key, sink.name, error)
        await self._store.write(self._parts.mark_rejected, self._station, sink.name, record, str(error))
        self._metrics.rejected.labels(self._station, sink.name).inc()
        self._status.remember(sink.name, str(error))

    async def _deliver_next(self, sink: RecordSink, record: Record) -> Record | None:
        """Deliver the record after a failing one. If that succeeds, the fault is the record's and not the sink's."""
        following = await to_thread(self._parts.next_record, self._station, sink.name, record)
        if following is None:
            return None
        try:
            await self._deliver(sink, *following)
        except SinkFailed:
            return None
        return following[0]
