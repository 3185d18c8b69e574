"""The agent's store on disk: in order, bounded, each part once, whatever dies when."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from touchstone_line_agent.config import CsvSink
from touchstone_line_agent.parts import Decided, Finding, Part, Parts, Record
from touchstone_line_agent.sinks.csv_file import CsvFile

NORMAL = Finding("inspected", "normal", 0.1, 0.2, "disc", "id", None)
ACCEPT = Decided("accept", "verdict", 12.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parts.sqlite"


@pytest.fixture
def parts(path: Path) -> Iterator[Parts]:
    opened = Parts(path, most_pictures=5, most_bytes=1000)
    yield opened
    opened.close()


def take(parts: Parts, name: str, *, picture: bytes | None = b"picture", station: str = "a") -> Part:
    part = parts.number(station, f"{name}.png", name)
    assert parts.enter(part, picture, name)
    return part


def test_a_part_of_the_same_origin_is_taken_once(parts: Parts) -> None:
    take(parts, "1")
    assert not parts.enter(parts.number("a", "1.png", "1"), b"picture", "1")
    take(parts, "1", station="b")
    unnamed = parts.number("a", "x.png", None)
    assert unnamed.part_id == unnamed.key
    parts.forget_origin("a", "1")
    take(parts, "1")


def test_what_is_left_comes_oldest_first_and_passes_over_what_is_in_hand(parts: Parts) -> None:
    made = [take(parts, str(number)) for number in range(4)]
    found = parts.oldest_left("a", {made[0].sequence, made[1].sequence})
    assert found == (made[2], b"picture")
    assert parts.finish(made[2], NORMAL)
    assert not parts.finish(made[2], Finding("refused"))
    found = parts.oldest_left("a", ())
    assert found is not None
    assert found[0] == made[0]
    assert parts.left("a") == 3
    assert parts.oldest_left("b", ()) is None


def test_records_come_in_order_and_only_when_every_earlier_part_is_done(parts: Parts) -> None:
    parts.expect("a", "csv")
    first, second = take(parts, "1"), take(parts, "2")
    parts.finish(second, NORMAL)
    parts.decide(second, ACCEPT)
    assert parts.next_record("a", "csv") is None
    parts.decide(first, ACCEPT)
    parts.decide(first, Decided("reject", "fail-safe", 1.0))  # the first word stands
    assert parts.next_record("a", "csv") is None
    parts.finish(first, NORMAL)
    for expected in (first, second):
        found = parts.next_record("a", "csv")
        assert found is not None
        record, picture = found
        assert (record.part, record.decided, record.finding, picture) == (expected, ACCEPT, NORMAL, b"picture")
        parts.delivered("a", "csv", record)
    assert parts.next_record("a", "csv") is None


def test_room_comes_back_only_when_every_sink_has_the_record(parts: Parts) -> None:
    for sink in ("csv", "webhook"):
        parts.expect("a", sink)
    made = [take(parts, str(number)) for number in range(5)]
    assert not parts.has_room(1)
    for part in made:
        parts.finish(part, NORMAL)
        parts.decide(part, ACCEPT)
    for sink in ("csv", "webhook"):
        parts.settle("a", ["csv", "webhook"])
        assert not parts.has_room(1)
        while (found := parts.next_record("a", sink)) is not None:
            parts.delivered("a", sink, found[0])
    parts.settle("a", ["csv", "webhook"])
    assert parts.has_room(1000)
    assert not parts.has_room(1001)


def test_a_sink_that_is_added_later_gets_what_is_taken_from_then_on(parts: Parts) -> None:
    old = take(parts, "old")
    parts.finish(old, NORMAL)
    parts.decide(old, ACCEPT)
    parts.expect("a", "new")
    parts.expect("a", "new")
    assert parts.next_record("a", "new") is None
    new = take(parts, "new")
    parts.finish(new, NORMAL)
    parts.decide(new, ACCEPT)
    found = parts.next_record("a", "new")
    assert found is not None
    assert found[0].part == new


def test_a_csv_line_is_written_once_and_whole_whatever_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"

    def record(number: int, part_id: str) -> Record:
        return Record(Part(number, f"key{number}", "a", part_id, "x.png", 0.0), ACCEPT, NORMAL)

    async def deliver(*records: Record) -> None:
        for each in records:
            await CsvFile(CsvSink(kind="csv", path=path)).deliver(each, None)

    first, second = record(1, "=cmd"), record(2, "two\nlines")
    asyncio.run(deliver(first, first, second))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])  # a power cut
    asyncio.run(deliver(second, second))
    assert path.read_bytes() == whole
    lines = list(csv.DictReader(whole.decode().splitlines()))
    assert [(line["sequence"], line["part_id"]) for line in lines] == [("1", "'=cmd"), ("2", "two lines")]


def test_what_was_taken_survives_a_kill_and_is_known_to_have_missed_its_decision(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from touchstone_line_agent.parts import Parts\n"
        "parts = Parts(Path(sys.argv[1]), 100, 10**6)\n"
        "for number in range(7): parts.enter(parts.number('a', 'x.png', str(number)), b'picture', str(number))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    parts = Parts(path, 100, 10**6)
    try:
        assert parts.recover(["b"]) == 0
        assert parts.recover(["a"]) == 7
        found = parts.oldest_left("a", ())
        assert found is not None
        part, picture = found
        assert (part.part_id, picture) == ("0", b"picture")
        parts.finish(part, NORMAL)
        record = parts.next_record("a", "csv")
        assert record is not None
        assert record[0].decided == Decided("missed", "restart", None)
        second = sqlite3.connect(path, timeout=0.1)
        with contextlib.closing(second), pytest.raises(sqlite3.OperationalError, match="locked"):
            second.execute("SELECT * FROM part")
    finally:
        parts.close()
