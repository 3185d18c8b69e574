"""One station: takes parts, decides on each in time, and has each inspected and its record delivered in the end."""

from __future__ import annotations

import asyncio
import logging
from asyncio import to_thread

from touchstone_client import AsyncClient, Picture, PictureRefused, TouchstoneError
from touchstone_line_agent import config
from touchstone_line_agent.building import build_sinks, build_source
from touchstone_line_agent.gate import Gate
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Decided, Finding, Part, Parts
from touchstone_line_agent.sinks import RecordSink, SinkFailed
from touchstone_line_agent.sources import Camera, Feed, NoPicture, Taken

log = logging.getLogger("touchstone.line_agent")

_IDLE_S = 0.5  # between looks at the store when nothing was heard
_LONGEST_PAUSE_S = 5.0
_NO_ROOM_S = 0.2
_LONGEST_ID = 128  # that the service takes
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
        self._tail: asyncio.Task[Decided] | None = None
        self._under_way: set[asyncio.Task[Decided]] = set()
        self._news = asyncio.Condition()
        self._trouble: dict[str, str] = {}
        for sink in self._keeping:
            parts.expect(self.name, sink.name)

    @property
    def trouble(self) -> dict[str, str]:
        """What does not work now, by name; empty when all is well."""
        camera = self._source.trouble if isinstance(self._source, Camera) else ""
        return {**self._trouble, **self._gate.trouble, **({"source": camera} if camera else {})}

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
                tasks.create_task(self._gate.rest(self.settings.on_no_verdict))
                tasks.create_task(self._inspect_what_is_left())
                for sink in self._keeping:
                    tasks.create_task(self._deliver(sink))
                if not isinstance(self._source, Camera):
                    tasks.create_task(self._feed(self._source))
        finally:
            if self._under_way:
                await asyncio.wait(self._under_way)
            await self._gate.leave(self.settings.on_no_verdict)
            for sink in self._keeping:
                await sink.close()
            if isinstance(self._source, Camera):
                await self._source.close()

    async def trigger(self, part_id: str | None = None) -> tuple[Part, Decided]:
        """Take a picture and return its part, with the decision once there is one."""
        assert isinstance(self._source, Camera)
        deadline = self._deadline()
        data, why = None, None
        async with self._taking:
            try:
                data = await self._source.picture()
                self.report("source", "")
            except NoPicture as error:
                why = str(error)
                self.report("source", why)
            room = data is not None and await to_thread(self._parts.has_room, len(data))
            filename = f"{part_id or 'part'}.png"
            part = await to_thread(self._parts.put, self.name, data if room else None, filename, part_id)
            assert part is not None
            missing = None if data is None or room else Finding("no-room", detail="the store on disk is full")
            missing = missing if data is not None else Finding("no-picture", detail=why)
            task = self._begin(part, data, deadline, missing)
        return part, await asyncio.shield(task)

    async def _feed(self, source: Feed) -> None:
        while True:
            try:
                await source.run(self._take)
            except (NoPicture, OSError) as error:
                self.report("source", str(error))
                log.error("%s: %s; trying again", self.name, error)
                await asyncio.sleep(_LONGEST_PAUSE_S)
            else:
                log.info("%s: the source has come to its end", self.name)
                return

    async def _take(self, taken: Taken) -> None:
        while not await to_thread(self._parts.has_room, len(taken.data)):
            self.report("store", "the store on disk is full; the source waits")
            await asyncio.sleep(_NO_ROOM_S)
        self.report("store", "")
        self.report("source", "")
        deadline = self._deadline()
        async with self._taking:
            part = await to_thread(
                self._parts.put, self.name, taken.data, taken.filename, taken.part_id, taken.origin
            )  # fmt: skip
            if part is not None:
                self._begin(part, taken.data, deadline, None)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.settings.deadline_ms / 1000

    def _begin(self, part: Part, data: bytes | None, deadline: float, missing: Finding | None) -> asyncio.Task[Decided]:
        """Start on a part. missing: what becomes of it if it is not inspected in time, since it is not stored."""
        self._metrics.taken.labels(self.name).inc()
        self._in_hand.add(part.sequence)
        self._tail = asyncio.create_task(self._in_time(part, data, deadline, missing, self._tail))
        self._under_way.add(self._tail)
        self._tail.add_done_callback(self._under_way.discard)
        return self._tail

    async def _in_time(
        self, part: Part, data: bytes | None, deadline: float, missing: Finding | None,
        before: asyncio.Task[Decided] | None,
    ) -> Decided:  # fmt: skip
        finding = None
        try:
            if data is not None:
                async with asyncio.timeout_at(deadline), self._turns:
                    finding = await self._inspect(self._quick, part, data)
        except TimeoutError:
            log.warning("%s: part %s: no verdict in time", self.name, part.key)
        except TouchstoneError as error:
            log.warning("%s: part %s: %s", self.name, part.key, error)
        if before is not None:  # decisions leave in the order of their parts
            await asyncio.wait([before])
        try:
            after_ms = (asyncio.get_running_loop().time() - deadline) * 1000 + self.settings.deadline_ms
            decided = await self._gate.tell(part, self._decide(finding, after_ms), deadline)
            await to_thread(self._parts.decide, part, decided)
            self._metrics.decisions.labels(self.name, decided.decision, decided.because).inc()
            self._metrics.decision_seconds.labels(self.name).observe(after_ms / 1000)
            if (final := finding or missing) is not None:
                await self._finish(part, final)
        finally:
            self._in_hand.discard(part.sequence)
            await self._tell_news()
        return decided

    def _decide(self, finding: Finding | None, after_ms: float) -> Decided:
        if finding is None or finding.outcome != "inspected":
            return Decided(self.settings.on_no_verdict, "fail-safe", after_ms)
        accepted = finding.verdict in self.settings.accept
        return Decided("accept" if accepted else "reject", "verdict", after_ms)

    async def _inspect(self, client: AsyncClient, part: Part, data: bytes) -> Finding:
        """Ask the service, under the part's key. TouchstoneError when it gives no answer that settles the matter."""
        try:
            found = await client.inspect(
                Picture(part.filename, data), category=self.settings.category, part_id=part.part_id[:_LONGEST_ID],
                station=self.name, key=part.key,
            )  # fmt: skip
        except PictureRefused as error:
            return Finding("refused", detail=str(error))
        self.report("service", "")
        detail = _UNRECORDED.get(found.recorded)
        return Finding(
            "inspected", found.verdict, found.score, found.threshold, found.category, found.id, detail
        )  # fmt: skip

    async def _inspect_what_is_left(self) -> None:
        pause = 0.0
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
            except TouchstoneError as error:
                self.report("service", str(error))
                pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.1)
                await asyncio.sleep(pause)
            else:
                pause = 0.0
                await self._finish(part, finding)
                await self._tell_news()

    async def _finish(self, part: Part, finding: Finding) -> None:
        if await to_thread(self._parts.finish, part, finding):
            self._metrics.done.labels(self.name, finding.outcome).inc()
        if not self._keeping:
            await to_thread(self._parts.settle, self.name, ())

    async def _deliver(self, sink: RecordSink) -> None:
        pause = 0.0
        while True:
            found = await to_thread(self._parts.next_record, self.name, sink.name)
            if found is None:
                await self._wait_for_news()
                continue
            record, picture = found
            try:
                await sink.deliver(record, picture)
            except SinkFailed as error:
                self.report(sink.name, str(error))
                self._metrics.sink_failures.labels(self.name, sink.name).inc()
                pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.1)
                await asyncio.sleep(pause)
            else:
                pause = 0.0
                self.report(sink.name, "")
                await to_thread(self._parts.delivered, self.name, sink.name, record)
                await to_thread(self._parts.settle, self.name, [each.name for each in self._keeping])
                self._metrics.delivered.labels(self.name, sink.name).inc()

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
