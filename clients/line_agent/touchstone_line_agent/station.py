"""One station: takes parts, decides on each in time, and has each inspected and its record delivered in the end."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from touchstone_client import (
    AsyncClient,
    BadAnswer,
    InternalError,
    Picture,
    Problem,
    TouchstoneError,
    Unavailable,
    Unreachable,
)
from touchstone_line_agent import config
from touchstone_line_agent.building import build_sinks, build_source
from touchstone_line_agent.gate import GRACE_S, Gate
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Decided, Finding, Part, Parts, Record
from touchstone_line_agent.sinks import RecordFailed, RecordRefused, RecordSink, SinkFailed
from touchstone_line_agent.sources import Camera, Feed, NoPicture, Taken
from touchstone_line_agent.sources.folder import Folder
from touchstone_line_agent.sources.listing import IGNORED

log = logging.getLogger("touchstone.line_agent")

P = ParamSpec("P")
T = TypeVar("T")

_IDLE_S = 0.5  # between looks at the store when nothing was heard
_LONGEST_PAUSE_S = 5.0
_NO_ROOM_S = 0.2
_DISK_S = 1.0
_END_S = 5.0  # beyond the last part's deadline, for writing down what was told
# What the service, or a proxy before it, answers for the sake of this one part: asking again would change nothing.
_REFUSALS = frozenset({400, 413, 415, 422})
_MOST_FAILURES = 3  # of a service that is ready, on one part
_UNRECORDED = {
    False: "the service did not record it",
    None: "the service could not tell whether it recorded it",
}


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
        self._quick = quick
        self._patient = patient
        self._metrics = metrics
        self._source = build_source(settings.source)
        acting, self._keeping = build_sinks(settings.sink)
        self._gate = Gate(self.name, acting, metrics)
        self._in_hand: set[int] = set()  # parts being inspected in time: the backlog leaves them alone
        self._taking = asyncio.Lock()
        self._turns = asyncio.Semaphore(settings.at_once)
        self._tail: asyncio.Future[Decided] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()
        self._trouble: dict[str, str] = {}
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
                    tasks.create_task(self._always(sink.name, partial(self._deliver, sink)))
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
            if await self._written(self._parts.enter, part, stored, taken.origin):
                self._begin(part, data, deadline, missing)

    async def _forget(self, origin: str) -> None:
        await self._written(self._parts.forget_origin, self.name, origin)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.settings.deadline_ms / 1000

    async def _written(self, write: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Write to the store, again and again while the disk does not take it."""
        while True:
            try:
                return await to_thread(write, *values, **named)
            except sqlite3.OperationalError as error:
                self.report("store", f"the store cannot be written: {error}; trying again")
                await asyncio.sleep(_DISK_S)
                self.report("store", "")

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
            finding = None if data is None else await self._inspect_in_time(part, data, deadline)
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
                await self._written(self._parts.enter, part, None)
            await self._written(self._parts.decide, part, decided)
            if (final := finding or missing) is not None:
                await self._finish(part, final)
        finally:
            decision.cancel()  # of one that was cancelled before; else this does nothing
            self._in_hand.discard(part.sequence)
            await self._tell_news()

    async def _inspect_in_time(self, part: Part, data: bytes, deadline: float) -> Finding | None:
        try:
            async with asyncio.timeout_at(deadline), self._turns:
                return await self._inspect(self._quick, part, data)
        except TimeoutError:
            log.warning("%s: part %s: no verdict in time", self.name, part.key)
        except TouchstoneError as error:
            log.warning("%s: part %s: %s", self.name, part.key, error)
        except Exception:  # whatever it was, the gate has to be told
            log.exception("%s: part %s: unexpected", self.name, part.key)
            self._metrics.unexpected.labels(self.name, "inspecting").inc()
        return None

    def _decide(self, finding: Finding | None, deadline: float, now: float) -> Decided:
        if now > deadline + GRACE_S:
            return Decided("missed", "late", None)
        after_ms = (now - deadline) * 1000 + self.settings.deadline_ms
        if finding is None or finding.outcome != "inspected":
            return Decided(self.settings.on_no_verdict, "fail-safe", after_ms)
        accepted = finding.verdict in self.settings.accept
        return Decided("accept" if accepted else "reject", "verdict", after_ms)

    async def _inspect(self, client: AsyncClient, part: Part, data: bytes) -> Finding:
        """Ask the service, under the part's key. TouchstoneError when it gives no answer that settles the matter."""
        try:
            found = await client.inspect(
                Picture(part.filename, data), category=self.settings.category, part_id=part.part_id,
                station=self.name, key=part.key,
            )  # fmt: skip
        except Problem as problem:
            if problem.details.status not in _REFUSALS:
                raise
            log.error("%s: part %s is refused: %s", self.name, part.key, problem)
            self.report("service", "")
            return Finding("refused", detail=str(problem))
        self.report("service", "")
        detail = _UNRECORDED.get(found.recorded)
        return Finding(
            "inspected", found.verdict, found.score, found.threshold, found.category, found.id, detail
        )  # fmt: skip

    async def _inspect_what_is_left(self) -> None:
        pause, failures = 0.0, 0
        while True:
            async with self._taking:
                found = await to_thread(self._parts.oldest_left, self.name, self._in_hand)
            if found is None:
                await self._wait_for_news()
                continue
            part, data = found
            try:
                if data is None:
                    finding = Finding("no-room", detail="the store was full and the agent was stopped")
                else:
                    finding = await self._inspect(self._patient, part, data)
            except Exception as error:
                if isinstance(error, TouchstoneError):
                    failures = failures + 1 if isinstance(error, InternalError | BadAnswer) else 0
                else:
                    log.exception("%s: part %s: unexpected", self.name, part.key)
                    self._metrics.unexpected.labels(self.name, "inspecting").inc()
                    failures += 1
                if failures < _MOST_FAILURES or not await self._service_is_ready():
                    self.report("service", str(error))
                    pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.1)
                    await asyncio.sleep(pause)
                    continue
                log.error("%s: part %s is refused: the service fails on it: %s", self.name, part.key, error)
                self.report("service", "")
                finding = Finding("refused", detail=f"the service failed on it {failures} times: {error}")
            pause, failures = 0.0, 0
            await self._finish(part, finding)
            await self._tell_news()

    async def _service_is_ready(self) -> bool:
        """Whether it says that it can inspect: then it is a part that it fails on, and not itself that is broken."""
        try:
            await self._patient.ready()
        except (Unavailable, Unreachable, InternalError, BadAnswer):
            return False
        except TouchstoneError:  # nothing that speaks of readiness is there, but something answers as it should
            return True
        return True

    async def _finish(self, part: Part, finding: Finding) -> None:
        if await self._written(self._parts.finish, part, finding):
            self._metrics.done.labels(self.name, finding.outcome).inc()
        if not self._keeping:
            await self._written(self._parts.settle, self.name, ())

    async def _deliver(self, sink: RecordSink) -> None:
        pause, failures = 0.0, 0
        while True:
            found = await to_thread(self._parts.next_record, self.name, sink.name)
            if found is None:
                await self._wait_for_news()
                continue
            record, picture = found
            try:
                await sink.deliver(record, picture)
            except RecordRefused as error:
                await self._pass_over(sink, record, error)
            except SinkFailed as error:
                failures = failures + 1 if isinstance(error, RecordFailed) else 0
                later = await self._take_a_later_one(sink, record) if failures >= _MOST_FAILURES else None
                if later is None:
                    self.report(sink.name, str(error))
                    self._metrics.sink_failures.labels(self.name, sink.name).inc()
                    pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.1)
                    await asyncio.sleep(pause)
                    continue
                await self._pass_over(sink, record, error)
                await self._delivered(sink, later)
            else:
                await self._delivered(sink, record)
            pause, failures = 0.0, 0
            self.report(sink.name, "")
            await self._written(self._parts.settle, self.name, [each.name for each in self._keeping])

    async def _delivered(self, sink: RecordSink, record: Record) -> None:
        await self._written(self._parts.delivered, self.name, sink.name, record)
        self._metrics.delivered.labels(self.name, sink.name).inc()

    async def _pass_over(self, sink: RecordSink, record: Record, error: SinkFailed) -> None:
        log.error("%s: the record of part %s was not sent to %s: %s", self.name, record.part.key, sink.name, error)
        await self._written(self._parts.not_taken, self.name, sink.name, record, str(error))
        self._metrics.not_taken.labels(self.name, sink.name).inc()

    async def _take_a_later_one(self, sink: RecordSink, record: Record) -> Record | None:
        """The next record, if the sink takes that: then it fails on the record, and is not itself away."""
        found = await to_thread(self._parts.next_record, self.name, sink.name, record)
        if found is None:
            return None
        try:
            await sink.deliver(*found)
        except SinkFailed:
            return None
        return found[0]

    async def _tell_news(self) -> None:
        self._metrics.left.labels(self.name).set(await to_thread(self._parts.left, self.name))
        async with self._news:
            self._news.notify_all()

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(_IDLE_S), self._news:
                await self._news.wait()
        except TimeoutError:
            pass
