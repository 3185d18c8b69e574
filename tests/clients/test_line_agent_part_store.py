"""The agent's store on disk: ordered, bounded, each part once, whenever the agent is killed."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from touchstone_line_agent.config import CsvSink, FolderSink
from touchstone_line_agent.part import GateDecision, InspectionResult, Part, Record
from touchstone_line_agent.part_store import PartStore
from touchstone_line_agent.sinks.base import RecordSink
from touchstone_line_agent.sinks.csv_file import CsvRecords
from touchstone_line_agent.sinks.folder import FolderRecords

NORMAL = InspectionResult("inspected", "normal", 0.1, 0.2, "disc", "id", None)
ACCEPT = GateDecision("accept", "verdict", 12.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parts.sqlite"


@pytest.fixture
def parts(path: Path) -> Iterator[PartStore]:
    store = PartStore(path, max_images=5, max_bytes=1000)
    yield store
    store.close()


def insert(parts: PartStore, name: str, *, station: str = "a") -> Part:
    part = parts.new_part(station, f"{name}.png", name)
    assert parts.insert(part, b"image", name)
    return part


def complete(parts: PartStore, part: Part) -> None:
    parts.save_result(part, NORMAL)
    parts.save_decision(part, ACCEPT)


def test_a_part_of_the_same_origin_is_stored_once(parts: PartStore) -> None:
    insert(parts, "1")
    assert not parts.insert(parts.new_part("a", "1.png", "1"), b"image", "1")
    insert(parts, "1", station="b")
    unnamed = parts.new_part("a", "x.png", None)
    assert unnamed.part_id == unnamed.key
    parts.release_origin("a", "1")
    insert(parts, "1")


def test_pending_parts_are_returned_oldest_first_without_the_excluded_ones(parts: PartStore) -> None:
    inserted = [insert(parts, str(index)) for index in range(4)]
    oldest = parts.oldest_pending("a", {inserted[0].sequence, inserted[1].sequence})
    assert oldest == (inserted[2], b"image")
    assert parts.save_result(inserted[2], NORMAL)
    assert not parts.save_result(inserted[2], InspectionResult("refused"))
    oldest = parts.oldest_pending("a", ())
    assert oldest is not None
    assert oldest[0] == inserted[0]
    assert parts.pending_count("a") == 3
    assert parts.oldest_pending("b", ()) is None


def test_records_are_delivered_in_order_after_every_earlier_part_is_complete(parts: PartStore) -> None:
    parts.register_sink("a", "csv")
    first, second = insert(parts, "1"), insert(parts, "2")
    complete(parts, second)
    assert parts.next_record("a", "csv") is None
    parts.save_decision(first, ACCEPT)
    parts.save_decision(first, GateDecision("reject", "fail-safe", 1.0))  # does not replace the first one
    assert parts.next_record("a", "csv") is None
    parts.save_result(first, NORMAL)
    for expected in (first, second):
        assert parts.next_record("a", "csv") == (Record(expected, ACCEPT, NORMAL), b"image")
        parts.mark_delivered("a", "csv", Record(expected, ACCEPT, NORMAL))
    assert parts.next_record("a", "csv") is None


def test_space_is_freed_when_every_sink_has_the_record(parts: PartStore) -> None:
    sinks = ["csv", "webhook"]
    for sink in sinks:
        parts.register_sink("a", sink)
    inserted = [insert(parts, str(index)) for index in range(5)]
    assert not parts.has_space(1)
    for part in inserted:
        complete(parts, part)
    for sink in sinks:
        parts.prune("a", sinks)
        assert not parts.has_space(1)
        while (pending := parts.next_record("a", sink)) is not None:
            parts.mark_delivered("a", sink, pending[0])
    parts.prune("a", sinks)
    assert parts.has_space(1000)
    assert not parts.has_space(1001)


def test_a_sink_that_is_added_later_receives_the_parts_captured_from_then_on(parts: PartStore) -> None:
    complete(parts, insert(parts, "old"))
    parts.register_sink("a", "new")
    parts.register_sink("a", "new")
    assert parts.next_record("a", "new") is None
    new = insert(parts, "new")
    complete(parts, new)
    pending = parts.next_record("a", "new")
    assert pending is not None
    assert pending[0].part == new


def test_a_csv_line_is_written_once_and_completely_after_a_power_failure(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"

    def record(sequence: int, part_id: str) -> Record:
        return Record(Part(sequence, f"key{sequence}", "a", part_id, "x.png", 0.0), ACCEPT, NORMAL)

    async def deliver(*records: Record) -> None:
        for record in records:
            await CsvRecords(CsvSink(kind="csv", path=path)).deliver(record, None)

    first, second = record(1, "=cmd"), record(2, "two\nlines")
    asyncio.run(deliver(first, first, second))
    complete_file = path.read_bytes()
    path.write_bytes(complete_file[:-9])
    asyncio.run(deliver(second, second))
    assert path.read_bytes() == complete_file
    lines = list(csv.DictReader(complete_file.decode().splitlines()))
    assert [(line["sequence"], line["part_id"]) for line in lines] == [("1", "'=cmd"), ("2", "two lines")]


def test_stored_parts_survive_a_kill_and_have_missed_their_decision(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from touchstone_line_agent.part_store import PartStore\n"
        "parts = PartStore(Path(sys.argv[1]), 100, 10**6)\n"
        "for number in range(7):\n"
        "    parts.insert(parts.new_part('a', 'x.png', str(number)), b'image', str(number))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    parts = PartStore(path, 100, 10**6)
    try:
        assert parts.recover(["b"]) == 0
        assert parts.recover(["a"]) == 7
        oldest = parts.oldest_pending("a", ())
        assert oldest is not None
        part, image = oldest
        assert (part.part_id, image) == ("0", b"image")
        parts.save_result(part, NORMAL)
        pending = parts.next_record("a", "csv")
        assert pending is not None
        assert pending[0].decision == GateDecision("missed", "restart", None)
        second = sqlite3.connect(path, timeout=0.1)
        with contextlib.closing(second), pytest.raises(sqlite3.OperationalError, match="locked"):
            second.execute("SELECT * FROM part")
    finally:
        parts.close()


FIRST_SCHEMA = """
CREATE TABLE part (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, station TEXT NOT NULL, part_id TEXT NOT NULL,
    origin TEXT, filename TEXT NOT NULL, taken_at REAL NOT NULL, picture BLOB, size INTEGER NOT NULL, outcome TEXT,
    decision TEXT, because TEXT, decided_after_ms REAL, verdict TEXT, score REAL, threshold REAL, category TEXT,
    inspection_id TEXT, detail TEXT, UNIQUE (station, origin)
);
CREATE INDEX part_by_station ON part (station, sequence);
CREATE INDEX part_with_picture ON part (station, sequence, size) WHERE picture IS NOT NULL;
CREATE INDEX part_waiting ON part (station, sequence) WHERE outcome IS NULL;
CREATE TABLE delivered (station TEXT NOT NULL, sink TEXT NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (station, sink));
INSERT INTO part (key, station, part_id, filename, taken_at, picture, size) VALUES ('k1', 'a', '1', '1.png', 9, 'i', 1);
INSERT INTO part (key, station, part_id, filename, taken_at, size, outcome, decision, because)
    VALUES ('k2', 'a', '2', '2.png', 9, 0, 'no-picture', 'reject', 'fail-safe');
"""
LATER_SCHEMA = """
ALTER TABLE part ADD COLUMN not_sent TEXT;
CREATE TABLE not_taken (station TEXT NOT NULL, sink TEXT NOT NULL, sequence INTEGER NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (sequence, sink));
INSERT INTO not_taken VALUES ('a', 'webhook', 2, 'too large');
"""


@pytest.mark.parametrize(
    ("schema", "rejected_by"), [(FIRST_SCHEMA, {}), (FIRST_SCHEMA + LATER_SCHEMA, {"webhook": "too large"})]
)
def test_parts_in_the_store_of_an_earlier_agent_are_completed(
    path: Path, schema: str, rejected_by: dict[str, str]
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as earlier:
        earlier.executescript(schema)
    for _ in range(2):  # an upgraded store is opened as it is
        parts = PartStore(path, 5, 1000)
        try:
            oldest = parts.oldest_pending("a", ())
            assert oldest is not None
            assert (oldest[0].key, oldest[1]) == ("k1", "i")
            second, first = parts.latest(9)
            assert (first.part.captured_at, first.result) == (9.0, None)
            assert (second.result, second.decision) == (
                InspectionResult("no-image"),
                GateDecision("reject", "fail-safe", None),
            )
            assert second.rejected_by == rejected_by
        finally:
            parts.close()


@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_the_names_of_what_a_sink_writes_survive_a_power_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Every folder is synchronised once the name is in it: without that only the content is durable."""
    synced: dict[str, list[str]] = {}
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            synced[path.name] = sorted(entry.name for entry in path.iterdir())

    monkeypatch.setattr("os.fsync", recorded)
    folder = tmp_path / "line" / "results"
    sink: RecordSink = (
        FolderRecords(FolderSink(kind="folder", path=folder, images="all"))
        if kind == "folder"
        else CsvRecords(CsvSink(kind="csv", path=folder / "results.csv"))
    )
    record = Record(Part(1, "key", "a", "part", "x.png", 0.0), ACCEPT, NORMAL)
    asyncio.run(sink.deliver(record, b"image"))
    assert synced["line"] == ["results"]
    assert synced["results"] == sorted(path.name for path in folder.iterdir())
    assert tmp_path.name in synced
