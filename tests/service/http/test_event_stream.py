"""The stream of inspections: one reader of the history for any number of subscribers, each with its filter."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.inspections import Inspections
from indexer.domain.inspection import Inspection, InspectionFilter
from service.background import inspection_stream as feeds
from service.background.inspection_stream import InspectionStream
from service.http.event_stream import server_sent_events

NUMBERS = itertools.count()


def inspection(**more: object) -> Inspection:
    number = next(NUMBERS)
    novelty = {
        "statistic": None,
        "threshold": None,
        "p_value": None,
        "median_distance": 0.1,
        "similarity": 0.9,
        "self_similarity": 0.1,
    }
    timings = {"queue_ms": 1.0, "encode_ms": 1.0, "search_ms": 1.0, "total_ms": 3.0}
    values: dict[str, object] = {
        "id": f"{number:032x}",
        "at": datetime.now(UTC),
        "filename": f"{number}.png",
        "verdict": "normal",
        "score": 0.1,
        "version": 1,
        "width": 4,
        "height": 3,
        "category": "disc",
        "station": "S1",
        "novelty": novelty,
        "timings": timings,
    }
    return Inspection(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    opened = Catalogue.open(f"sqlite:///{tmp_path}/catalogue.sqlite")
    yield opened
    opened.close()


class Counted:
    """The history, counting how often it is read."""

    def __init__(self, inspections: Inspections) -> None:
        self._inspections = inspections
        self.reads = 0

    def page(self, *arguments: object, **more: object) -> object:
        self.reads += 1
        return self._inspections.page(*arguments, **more)  # type: ignore[arg-type]

    def times(self, since: datetime) -> dict[str, datetime]:
        return self._inspections.times(since)


class Ear:
    """Listens to a stream and notes the ids that it is told."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        self._events = events
        self.told: list[str] = []
        self.over = False

    async def listen(self) -> None:
        async for event in self._events:
            self.told += [line.removeprefix("id: ") for line in event.splitlines() if line.startswith("id: ")]
        self.over = True


@asynccontextmanager
async def listening(
    feed: InspectionStream, matching: InspectionFilter | None = None, since: datetime | None = None
) -> AsyncIterator[Ear]:
    events = server_sent_events(feed, matching or InspectionFilter(), since)
    assert (await anext(events)).startswith("retry: ")
    ear = Ear(events)
    task = asyncio.create_task(ear.listen())
    try:
        yield ear
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await events.aclose()  # type: ignore[attr-defined]


async def look(feed: InspectionStream) -> None:
    """A round of the task, as on its own thread, and time for what it says to be heard."""
    await asyncio.to_thread(feed.round, threading.Event())
    for _ in range(20):
        await asyncio.sleep(0.002)


def test_any_number_of_listeners_costs_one_reader(catalogue: Catalogue) -> None:
    async def run() -> None:
        history = Counted(catalogue.inspections)
        feed = InspectionStream(history)  # type: ignore[arg-type]
        await look(feed)
        assert history.reads == 0, "nobody listens"
        async with AsyncExitStack() as house:
            ears = [await house.enter_async_context(listening(feed)) for _ in range(40)]
            history.reads = 0  # each has looked once at what need not be told
            made = [inspection() for _ in range(3)]
            for recorded in made:
                catalogue.inspections.record([recorded])
                await look(feed)
            assert history.reads <= 6, "one reader, one page more where something was new"
            for ear in ears:
                assert ear.told == [recorded.id for recorded in made], "in order, each once"
        before = history.reads
        await look(feed)
        assert history.reads == before, "nobody listens any more"

    asyncio.run(run())


def test_each_stream_gets_matching_inspections_exactly_once(catalogue: Catalogue) -> None:
    async def run() -> None:
        feed = InspectionStream(catalogue.inspections)
        async with listening(feed) as everything, listening(feed, InspectionFilter(station="S2")) as second:
            begun = datetime.now(UTC)
            one, two = inspection(station="S1"), inspection(station="S2")
            catalogue.inspections.record([one, two])
            await look(feed)
            await look(feed)
            # Recorded late, as by a request that took long: told all the same.
            late = inspection(station="S2", at=begun)
            catalogue.inspections.record([late])
            await look(feed)
            assert everything.told == [one.id, two.id, late.id]
            assert second.told == [two.id, late.id]

    asyncio.run(run())


def test_a_reconnected_stream_gets_missed_inspections_once(catalogue: Catalogue) -> None:
    async def run() -> None:
        feed = InspectionStream(catalogue.inspections)
        missed = [inspection() for _ in range(3)]
        catalogue.inspections.record(missed)
        async with listening(feed, since=missed[0].at) as ear:
            await look(feed)
            more = inspection()
            catalogue.inspections.record([more])
            await look(feed)
            assert ear.told == [*(recorded.id for recorded in missed), more.id]

    asyncio.run(run())


@pytest.mark.parametrize("reconnected", [False, True])
def test_an_inspection_recorded_after_a_later_one_or_after_connecting_is_told(
    catalogue: Catalogue, reconnected: bool
) -> None:
    async def run() -> None:
        feed = InspectionStream(catalogue.inspections)
        slow, heard = inspection(), inspection()  # in the order in which they were answered
        catalogue.inspections.record([heard])
        if reconnected:
            catalogue.inspections.record([slow])
        async with listening(feed, since=heard.at if reconnected else None) as ear:
            if not reconnected:
                catalogue.inspections.record([slow])
            await look(feed)
            assert slow.id in ear.told
            assert reconnected or ear.told == [slow.id], "what was recorded before is told to nobody who did not ask"

    asyncio.run(run())


@pytest.mark.parametrize("earlier", [False, True], ids=["while-listening", "before"])
def test_inspections_with_times_ahead_hide_no_others_and_are_sent_once(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    """Those of a replica whose clock is ahead, or from before the clock was set back."""

    async def run() -> None:
        monkeypatch.setattr(feeds, "_PAGE", 3)
        feed = InspectionStream(catalogue.inspections)
        early = [inspection(at=datetime.now(UTC) + timedelta(hours=1)) for _ in range(7)]
        if earlier:
            catalogue.inspections.record(early)
        async with listening(feed) as ear:
            await look(feed)
            if not earlier:
                catalogue.inspections.record(early)
            await look(feed)
            assert ear.told == ([] if earlier else [recorded.id for recorded in early])
            ear.told.clear()
            for _ in range(2):
                made = [inspection() for _ in range(2)]
                ahead = inspection(at=datetime.now(UTC) + timedelta(hours=2))
                catalogue.inspections.record([*made, ahead])
                await look(feed)
                await look(feed)
                assert ear.told == [*(recorded.id for recorded in made), ahead.id]
                ear.told.clear()

    asyncio.run(run())


def test_a_clock_that_is_set_back_stops_no_stream(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Ahead:
            return super().now(tz) + timedelta(hours=1)

    async def run() -> None:
        feed = InspectionStream(catalogue.inspections)
        with monkeypatch.context() as patched:
            patched.setattr(feeds, "datetime", Ahead)
            async with listening(feed) as ear:
                before = [inspection(at=Ahead.now(UTC)) for _ in range(3)]
                catalogue.inspections.record(before)
                await look(feed)
                assert ear.told == [recorded.id for recorded in before]
                ear.told.clear()
                patched.undo()
                after = inspection()
                catalogue.inspections.record([after])
                await look(feed)
                await look(feed)
                assert ear.told == [after.id]

    asyncio.run(run())


def test_more_than_a_page_between_two_polls_is_delivered_completely(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(feeds, "_PAGE", 7)
        feed = InspectionStream(catalogue.inspections)
        async with listening(feed) as ear:
            made = [inspection() for _ in range(40)]
            catalogue.inspections.record(made)
            await look(feed)
            assert ear.told == [recorded.id for recorded in made]

    asyncio.run(run())


def test_a_listener_that_does_not_keep_up_is_cut_off_and_no_other_waits(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(feeds, "_MAX_PENDING_EVENTS", 5)
        feed = InspectionStream(catalogue.inspections)
        slow = server_sent_events(feed, InspectionFilter(), None)
        await anext(slow)
        reading = asyncio.ensure_future(anext(slow))
        await asyncio.sleep(0)
        async with listening(feed) as ear:
            made = [inspection() for _ in range(20)]
            for recorded in made:
                catalogue.inspections.record([recorded])
                await look(feed)
            assert ear.told == [recorded.id for recorded in made]
        await reading
        heard = [event async for event in slow]
        assert len(heard) == 5, "then it ends, and the browser asks again with the last id that it heard"
        assert len(feed._subscribers) == 0

    asyncio.run(run())


def test_streams_end_when_the_service_does(catalogue: Catalogue) -> None:
    async def run() -> None:
        feed = InspectionStream(catalogue.inspections)
        async with listening(feed) as ear:
            feed.close()
            await look(feed)
            assert ear.over
        events = server_sent_events(feed, InspectionFilter(), None)
        assert len([event async for event in events]) == 1, "and so does one that comes later"

    asyncio.run(run())


TEXTS = st.sampled_from(["a", "A", "ab", "b%", "_", "bolt 7"])
START = datetime(2026, 1, 1, tzinfo=UTC)
MADE = [
    inspection(
        at=START + timedelta(seconds=index),
        category=category,
        station=station,
        part_id=part,
        label=label,
        filename=name,
        verdict=verdict,
    )
    for index, (category, station, part, label, name, verdict) in enumerate(
        itertools.product(
            ["a", None], ["A", None], ["bolt 7", None], ["good", None], ["ab%.png", "b_.png"], ["normal", "anomalous"]
        )
    )
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    catalogue = Catalogue.open(f"sqlite:///{tmp_path_factory.mktemp('data')}/catalogue.sqlite")
    catalogue.inspections.record(MADE)
    yield catalogue
    catalogue.close()


@settings(deadline=None)  # a query waits for whatever else the machine does
@given(
    matching=st.builds(
        InspectionFilter,
        category=st.none() | st.sampled_from(["a", "b"]),
        verdict=st.none() | st.just("normal"),
        station=st.none() | st.just("A"),
        part_id=st.none() | st.just("bolt 7"),
        label=st.none() | st.sampled_from(["good", "defect"]),
        since=st.none() | st.integers(0, 70).map(lambda seconds: START + timedelta(seconds=seconds)),
        until=st.none() | st.integers(0, 70).map(lambda seconds: START + timedelta(seconds=seconds)),
        text=st.none() | TEXTS,
    )
)
def test_a_filter_means_the_same_in_the_stream_and_in_the_catalogue(
    filled: Catalogue, matching: InspectionFilter
) -> None:
    expected = {recorded.id for recorded in filled.inspections.page(matching, None, 1000).items}
    assert {recorded.id for recorded in MADE if matching.matches(recorded)} == expected
