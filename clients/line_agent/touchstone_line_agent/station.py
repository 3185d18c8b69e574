"""One station: captures parts, decides on each within its deadline, and completes and delivers its record."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from touchstone_client import AsyncClient, StationReport
from touchstone_line_agent import config
from touchstone_line_agent.delivery import Delivery
from touchstone_line_agent.factory import create_sinks, create_source
from touchstone_line_agent.gate import GRACE_S, Gate
from touchstone_line_agent.inspector import Inspector
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part import GateDecision, InspectionResult, Part
from touchstone_line_agent.part_store import PartStore
from touchstone_line_agent.sources import Camera, CapturedImage, CaptureFailed, Feed, FrameSource
from touchstone_line_agent.sources.folder import FolderFeed
from touchstone_line_agent.sources.folder_listing import IGNORE_REASONS
from touchstone_line_agent.station_status import SOURCE, StationStatus
from touchstone_line_agent.station_store import StationStore

log = logging.getLogger("touchstone.line_agent")

_RESTART_DELAY_S = 5.0
_FULL_STORE_WAIT_S = 0.2
_SHUTDOWN_TIMEOUT_S = 5.0  # after the last part's deadline, to store what was sent


class StationStopping(Exception):
    """The station captures no part any more: its gates are to stay in the safe state."""


class Station:
    """Runs one station.

    A part is inspected at once. One without a verdict by its deadline gets the fail-safe decision, and is inspected
    later, oldest first, beside new parts. Records reach every sink in the order of their parts.

    deadline_client: retries until a part's deadline. backlog_client: makes one attempt.
    """

    def __init__(
        self,
        settings: config.Station,
        parts: PartStore,
        deadline_client: AsyncClient,
        backlog_client: AsyncClient,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self._parts = parts
        self._metrics = metrics
        self._source = create_source(settings.source)
        decision_sinks, self._record_sinks = create_sinks(settings.sink)
        gates, sinks = ([sink.name for sink in some] for some in (decision_sinks, self._record_sinks))
        self._status = StationStatus(settings.source.kind, gates, sinks)
        self._gate = Gate(self.name, decision_sinks, metrics, self._status)
        self._store = StationStore(self.name, parts, metrics, self.report)
        self._inspector = Inspector(settings, deadline_client, backlog_client, metrics, self.report)
        self._delivery = Delivery(self.name, self._record_sinks, self._store, metrics, self._status)
        self._in_progress: set[int] = set()  # parts before their deadline, which the backlog leaves alone
        self._capture_lock = asyncio.Lock()
        self._is_stopping = False
        self._last_decision: asyncio.Future[GateDecision] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        for sink in self._record_sinks:
            parts.register_sink(self.name, sink.name)
        if isinstance(self._source, FolderFeed):
            for reason in IGNORE_REASONS:
                metrics.ignored.labels(self.name, reason).set_function(partial(self._source.count_ignored, reason))

    @property
    def errors(self) -> dict[str, str]:
        """Present errors by name."""
        source = self._source.error
        return {**self._status.errors, **({SOURCE: source} if source else {})}

    @property
    def ignored(self) -> Sequence[str]:
        """What the source ignores, by reason, one short text each."""
        return self._source.ignored if isinstance(self._source, FolderFeed) else ()

    @property
    def frame_source(self) -> FrameSource | None:
        """What shows frames to people who watch the station; None where nothing does, or must not."""
        return self._source if self.settings.live_view and isinstance(self._source, FrameSource) else None

    def report(self, name: str, error: str) -> None:
        """Set an error, or clear it with an empty text."""
        self._status.report(name, error)

    def snapshot(self) -> StationReport:
        """What the service is told of this station."""
        return self._status.snapshot(self._source.error, sends_frames=self.frame_source is not None)

    async def run(self) -> None:
        """Run until cancelled; then finish the parts in progress and leave the gates in the safe state."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._gate.run(self.settings.fail_safe))
                tasks.create_task(self._restart_on_error("inspecting", self._inspect_backlog))
                for sink in self._record_sinks:
                    tasks.create_task(self._restart_on_error(sink.name, partial(self._delivery.run, sink)))
                if not isinstance(self._source, Camera):
                    tasks.create_task(self._restart_on_error(SOURCE, partial(self._run_feed, self._source)))
        finally:
            async with self._capture_lock:  # a part that is being captured is the last one
                self._is_stopping = True
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self.settings.deadline_ms / 1000 + _SHUTDOWN_TIMEOUT_S)
            await self._gate.shutdown(self.settings.fail_safe)
            for sink in self._record_sinks:
                await sink.close()
            if isinstance(self._source, Camera):
                await self._source.close()

    async def _restart_on_error(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Restart work after an unexpected error, which is logged and affects no other task or station."""
        while True:
            try:
                await work()
            except Exception as error:
                log.exception("%s: %s: unexpected", self.name, name)
                self.report(name, f"unexpected {type(error).__name__}: {error}; restarting")
                self._metrics.unexpected.labels(self.name, name).inc()
                await asyncio.sleep(_RESTART_DELAY_S)
                self.report(name, "")
            else:
                return

    async def trigger(self, part_id: str | None = None) -> tuple[Part, GateDecision]:
        """Capture a part, and return it with its decision as soon as that is sent to the gates. StationStopping."""
        assert isinstance(self._source, Camera)
        deadline = self._deadline()
        data, fallback = None, None
        async with self._capture_lock:
            if self._is_stopping:
                raise StationStopping(f"{self.name}: the agent is stopping")
            try:
                data = await self._source.capture()
                self._status.captured()
                self.report(SOURCE, "")
            except Exception as error:  # the gate needs a decision whatever happened
                if not isinstance(error, CaptureFailed):
                    log.exception("%s: the source: unexpected", self.name)
                    self._metrics.unexpected.labels(self.name, SOURCE).inc()
                fallback = InspectionResult("no-image", detail=str(error))
                self.report(SOURCE, str(error))
            part = self._parts.new_part(self.name, f"{part_id or 'part'}.png", part_id)
            stored = True
            try:
                if data is not None and not await to_thread(self._parts.has_space, len(data)):
                    fallback = InspectionResult("store-full", detail="the store on disk is full")
                await to_thread(self._parts.insert, part, data if fallback is None else None)
            except sqlite3.Error as error:  # a gate cannot wait for the disk
                stored = False
                fallback = fallback or InspectionResult("store-full", detail=f"the store cannot be written: {error}")
            decision = self._start(part, data, deadline, fallback, stored)
        return part, await asyncio.shield(decision)

    def record_caller_disconnected(self, part: Part) -> None:
        """Record, from any thread, that the caller of an HTTP trigger did not wait for the decision."""
        reason = "the caller disconnected"
        log.error("%s: part %s: the decision was not sent over HTTP: %s", self.name, part.key, reason)
        self._metrics.not_sent.labels(self.name, "http").inc()
        self._parts.add_not_sent(part, "http", reason)

    async def _run_feed(self, source: Feed) -> None:
        while True:
            try:
                await source.run(self._accept, self._release_origin)
            except (CaptureFailed, OSError) as error:
                self.report(SOURCE, str(error))
                log.error("%s: %s; retrying", self.name, error)
                await asyncio.sleep(_RESTART_DELAY_S)
            else:
                log.info("%s: end of the source", self.name)
                return

    async def _accept(self, image: CapturedImage) -> None:
        """Store an image of a feed and start on its part. Waits while the store is full."""
        data, fallback = image.data, image.fallback
        if data is not None and len(data) > self._parts.max_bytes:
            fallback = InspectionResult("store-full", detail=f"{len(data)} bytes exceed the capacity of the store")
        while data is not None and fallback is None and not await to_thread(self._parts.has_space, len(data)):
            self.report("store", "the store on disk is full; the source waits")
            await asyncio.sleep(_FULL_STORE_WAIT_S)
        self.report("store", "")
        self.report(SOURCE, "")
        deadline = self._deadline()
        async with self._capture_lock:
            part = self._parts.new_part(self.name, image.filename, image.part_id)
            stored = data if fallback is None else None
            if await self._store.write(self._parts.insert, part, stored, image.origin):
                self._status.captured()
                self._start(part, data, deadline, fallback)

    async def _release_origin(self, origin: str) -> None:
        await self._store.write(self._parts.release_origin, self.name, origin)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.settings.deadline_ms / 1000

    def _start(
        self,
        part: Part,
        data: bytes | None,
        deadline: float,
        fallback: InspectionResult | None,
        stored: bool = True,
    ) -> asyncio.Future[GateDecision]:
        """Start to process a part; the future is its decision, set when the gates start to receive it.

        fallback: the result of a part that is not inspected in time and cannot be later, since its image is not stored.
        stored: whether the part itself is.
        """
        self._metrics.captured.labels(self.name).inc()
        self._in_progress.add(part.sequence)
        previous, self._last_decision = self._last_decision, asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._process(part, data, deadline, fallback, stored, self._last_decision, previous))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self._last_decision

    async def _process(
        self,
        part: Part,
        data: bytes | None,
        deadline: float,
        fallback: InspectionResult | None,
        stored: bool,
        future: asyncio.Future[GateDecision],
        previous: asyncio.Future[GateDecision] | None,
    ) -> None:
        try:
            result = None if data is None else await self._inspector.inspect_by(part, data, deadline)
            if previous is not None:  # decisions are sent in the order of their parts
                await asyncio.wait((previous,))
            now = asyncio.get_running_loop().time()
            decision = self._decide(result, deadline, now)
            sending = None if decision.decision == "missed" else self._gate.send(part, decision, deadline)
            future.set_result(decision)
            self._status.decided(part, decision, result)
            self._metrics.decisions.labels(self.name, decision.decision, decision.reason).inc()
            self._metrics.decision_seconds.labels(self.name).observe(now - deadline + self.settings.deadline_ms / 1000)
            if sending is not None:
                decision = replace(decision, not_sent=await sending)
            if not stored:
                await self._store.write(self._parts.insert, part, None)
            await self._store.write(self._parts.save_decision, part, decision)
            if (final := result or fallback) is not None:
                await self._complete(part, final)
        finally:
            future.cancel()  # has no effect unless this task was cancelled before the decision
            self._in_progress.discard(part.sequence)
            await self._store.announce_change()

    def _decide(self, result: InspectionResult | None, deadline: float, now: float) -> GateDecision:
        if now > deadline + GRACE_S:
            return GateDecision("missed", "late", None)
        after_ms = (now - deadline) * 1000 + self.settings.deadline_ms
        if result is None or result.outcome != "inspected":
            return GateDecision(self.settings.fail_safe, "fail-safe", after_ms)
        accepted = result.verdict in self.settings.accept
        return GateDecision("accept" if accepted else "reject", "verdict", after_ms)

    async def _inspect_backlog(self) -> None:
        while True:
            async with self._capture_lock:
                pending = await to_thread(self._parts.oldest_pending, self.name, self._in_progress)
            if pending is None:
                await self._store.wait_for_change()
                continue
            part, data = pending
            if data is None:
                result = InspectionResult("store-full", detail="the store was full when the agent stopped")
            else:
                result = await self._inspector.inspect_eventually(part, data)
            await self._complete(part, result)
            await self._store.announce_change()

    async def _complete(self, part: Part, result: InspectionResult) -> None:
        if await self._store.write(self._parts.save_result, part, result):
            self._metrics.completed.labels(self.name, result.outcome).inc()
        if not self._record_sinks:
            await self._delivery.prune()
