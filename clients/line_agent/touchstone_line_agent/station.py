"""One station: takes parts, decides on each in time, and has each inspected and its record delivered in the end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from touchstone_client import AsyncClient
from touchstone_line_agent import config
from touchstone_line_agent.building import build_sinks, build_source
from touchstone_line_agent.delivery import Delivery
from touchstone_line_agent.gate import GRACE_S, Gate
from touchstone_line_agent.inquiry import Inquiry
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Decided, Finding, Part, Parts
from touchstone_line_agent.sources import Camera, Feed, NoPicture, Taken
from touchstone_line_agent.sources.folder import Folder
from touchstone_line_agent.sources.listing import IGNORED
from touchstone_line_agent.station_store import StationStore

log = logging.getLogger("touchstone.line_agent")

_LONGEST_PAUSE_S = 5.0
_NO_ROOM_S = 0.2
_END_S = 5.0  # beyond the last part's deadline, for writing down what was told


class Station:
    """Runs one station's tables.

    A part is inspected at once; what has no verdict by its deadline gets the fail-safe decision, and is inspected when
    the service can do it, oldest first, beside the parts that come in meanwhile. Its record reaches every sink after
    the records of all parts before it. quick: a client that tries again soon and often; patient: one that tries once.
    """

    def __init__(
        self, settings: config.Station, parts: Parts, quick: AsyncClient, patient: AsyncClient, metrics: Metrics
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self._parts = parts
        self._metrics = metrics
        self._trouble: dict[str, str] = {}
        self._source = build_source(settings.source)
        acting, self._keeping = build_sinks(settings.sink)
        self._gate = Gate(self.name, acting, metrics)
        self._store = StationStore(self.name, parts, metrics, self.report)
        self._inquiry = Inquiry(settings, quick, patient, metrics, self.report)
        self._delivery = Delivery(self.name, self._keeping, self._store, metrics, self.report)
        self._in_hand: set[int] = set()  # parts being inspected in time: the backlog leaves them alone
        self._taking = asyncio.Lock()
        self._tail: asyncio.Future[Decided] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        for sink in self._keeping:
            parts.expect(self.name, sink.name)
        if isinstance(self._source, Folder):
            for why in IGNORED:
                metrics.ignored.labels(self.name, why).set_function(partial(self._source.count_ignored, why))

    @property
    def trouble(self) -> dict[str, str]:
        """What does not work now, by name; empty when all is well."""
        source = self._source.trouble
        return {**self._trouble, **self._gate.trouble, **({"source": source} if source else {})}

    @property
    def ignored(self) -> Sequence[str]:
        """What the source finds and passes over, and why, in a few words each."""
        return self._source.ignored if isinstance(self._source, Folder) else ()

    def report(self, name: str, trouble: str) -> None:
        """Keep what does not work, or with an empty text that it works again."""
        if trouble:
            self._trouble[name] = trouble
        else:
            self._trouble.pop(name, None)

    async def run(self) -> None:
        """Work until cancelled, then finish what has a deadline and leave the gate in its safe state."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._gate.keep(self.settings.on_no_verdict))
                tasks.create_task(self._always("inspecting", self._inspect_what_is_left))
                for sink in self._keeping:
                    tasks.create_task(self._always(sink.name, partial(self._delivery.run, sink)))
                if not isinstance(self._source, Camera):
                    tasks.create_task(self._always("source", partial(self._feed, self._source)))
        finally:
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=self.settings.deadline_ms / 1000 + _END_S)
            await self._gate.leave(self.settings.on_no_verdict)
            for sink in self._keeping:
                await sink.close()
            if isinstance(self._source, Camera):
                await self._source.close()

    async def _always(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin again after what nobody expected, which is said: neither the other tasks nor the other stations end."""
        while True:
            try:
                await work()
            except Exception as error:
                log.exception("%s: %s: unexpected", self.name, name)
                self.report(name, f"unexpected {type(error).__name__}: {error}; trying again")
                self._metrics.unexpected.labels(self.name, name).inc()
                await asyncio.sleep(_LONGEST_PAUSE_S)
                self.report(name, "")
            else:
                return

    async def trigger(self, part_id: str | None = None) -> tuple[Part, Decided]:
        """Take a picture and return its part, with the decision once there is one: gates are told at the same time."""
        assert isinstance(self._source, Camera)
        deadline = self._deadline()
        data, missing = None, None
        async with self._taking:
            try:
                data = await self._source.picture()
                self.report("source", "")
            except Exception as error:  # whatever it was, the gate has to be told
                if not isinstance(error, NoPicture):
                    log.exception("%s: the source: unexpected", self.name)
                    self._metrics.unexpected.labels(self.name, "source").inc()
                missing = Finding("no-picture", detail=str(error))
                self.report("source", str(error))
            part = self._parts.number(self.name, f"{part_id or 'part'}.png", part_id)
            stored = True
            try:
                if data is not None and not await to_thread(self._parts.has_room, len(data)):
                    missing = Finding("no-room", detail="the store on disk is full")
                await to_thread(self._parts.enter, part, data if missing is None else None)
            except sqlite3.Error as error:  # a gate cannot wait for the disk
                stored, missing = False, missing or Finding("no-room", detail=f"the store cannot be written: {error}")
            decision = self._begin(part, data, deadline, missing, stored)
        return part, await asyncio.shield(decision)

    def not_answered(self, part: Part) -> None:
        """Keep, from any thread, that whoever triggered a part did not wait for the decision."""
        why = "the caller has gone"
        log.error("%s: part %s: the decision was not sent over HTTP: %s", self.name, part.key, why)
        self._metrics.not_sent.labels(self.name, "http").inc()
        self._parts.add_not_sent(part, "http", why)

    async def _feed(self, source: Feed) -> None:
        while True:
            try:
                await source.run(self._take, self._forget)
            except (NoPicture, OSError) as error:
                self.report("source", str(error))
                log.error("%s: %s; trying again", self.name, error)
                await asyncio.sleep(_LONGEST_PAUSE_S)
            else:
                log.info("%s: the source has come to its end", self.name)
                return

    async def _take(self, taken: Taken) -> None:
        data, missing = taken.data, taken.missing
        if data is not None and len(data) > self._parts.most_bytes:
            missing = Finding("no-room", detail=f"{len(data)} bytes are more than the whole store may hold")
        while data is not None and missing is None and not await to_thread(self._parts.has_room, len(data)):
            self.report("store", "the store on disk is full; the source waits")
            await asyncio.sleep(_NO_ROOM_S)
        self.report("store", "")
        self.report("source", "")
        deadline = self._deadline()
        async with self._taking:
            part = self._parts.number(self.name, taken.filename, taken.part_id)
            stored = data if missing is None else None
            if await self._store.write(self._parts.enter, part, stored, taken.origin):
                self._begin(part, data, deadline, missing)

    async def _forget(self, origin: str) -> None:
        await self._store.write(self._parts.forget_origin, self.name, origin)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.settings.deadline_ms / 1000

    def _begin(
        self, part: Part, data: bytes | None, deadline: float, missing: Finding | None, stored: bool = True
    ) -> asyncio.Future[Decided]:
        """Start on a part; the future is its decision, which gates are told from then on.

        missing: what becomes of the part if it is not inspected in time, since its picture is not stored. stored:
        whether the part itself is.
        """
        self._metrics.taken.labels(self.name).inc()
        self._in_hand.add(part.sequence)
        before, self._tail = self._tail, asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._work_on(part, data, deadline, missing, stored, self._tail, before))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return self._tail

    async def _work_on(
        self,
        part: Part,
        data: bytes | None,
        deadline: float,
        missing: Finding | None,
        stored: bool,
        decision: asyncio.Future[Decided],
        before: asyncio.Future[Decided] | None,
    ) -> None:
        try:
            finding = None if data is None else await self._inquiry.ask_in_time(part, data, deadline)
            if before is not None:  # decisions leave in the order of their parts
                await asyncio.wait((before,))
            now = asyncio.get_running_loop().time()
            decided = self._decide(finding, deadline, now)
            told = None if decided.decision == "missed" else self._gate.tell(part, decided, deadline)
            decision.set_result(decided)
            self._metrics.decisions.labels(self.name, decided.decision, decided.because).inc()
            self._metrics.decision_seconds.labels(self.name).observe(now - deadline + self.settings.deadline_ms / 1000)
            if told is not None:
                decided = replace(decided, not_sent=await told)
            if not stored:
                await self._store.write(self._parts.enter, part, None)
            await self._store.write(self._parts.decide, part, decided)
            if (final := finding or missing) is not None:
                await self._finish(part, final)
        finally:
            decision.cancel()  # of one that was cancelled before; else this does nothing
            self._in_hand.discard(part.sequence)
            await self._store.notify()

    def _decide(self, finding: Finding | None, deadline: float, now: float) -> Decided:
        if now > deadline + GRACE_S:
            return Decided("missed", "late", None)
        after_ms = (now - deadline) * 1000 + self.settings.deadline_ms
        if finding is None or finding.outcome != "inspected":
            return Decided(self.settings.on_no_verdict, "fail-safe", after_ms)
        accepted = finding.verdict in self.settings.accept
        return Decided("accept" if accepted else "reject", "verdict", after_ms)

    async def _inspect_what_is_left(self) -> None:
        while True:
            async with self._taking:
                found = await to_thread(self._parts.oldest_left, self.name, self._in_hand)
            if found is None:
                await self._store.wait()
                continue
            part, data = found
            if data is None:
                finding = Finding("no-room", detail="the store was full and the agent was stopped")
            else:
                finding = await self._inquiry.ask(part, data)
            await self._finish(part, finding)
            await self._store.notify()

    async def _finish(self, part: Part, finding: Finding) -> None:
        if await self._store.write(self._parts.finish, part, finding):
            self._metrics.done.labels(self.name, finding.outcome).inc()
        if not self._keeping:
            await self._delivery.settle()
