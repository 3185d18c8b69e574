"""Every part that was ever taken, on disk until its record has reached every sink: nothing lost, nothing twice."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["inspected", "refused", "no-picture", "no-room"]
DecisionTaken = Literal["accept", "reject", "missed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS part (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    station TEXT NOT NULL,
    part_id TEXT NOT NULL,
    origin TEXT,
    filename TEXT NOT NULL,
    taken_at REAL NOT NULL,
    picture BLOB,
    size INTEGER NOT NULL,
    outcome TEXT,
    decision TEXT,
    because TEXT,
    decided_after_ms REAL,
    verdict TEXT,
    score REAL,
    threshold REAL,
    category TEXT,
    inspection_id TEXT,
    detail TEXT,
    UNIQUE (station, origin)
);
CREATE INDEX IF NOT EXISTS part_by_station ON part (station, sequence);
CREATE INDEX IF NOT EXISTS part_with_picture ON part (station, sequence, size) WHERE picture IS NOT NULL;
CREATE INDEX IF NOT EXISTS part_waiting ON part (station, sequence) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS delivered (
    station TEXT NOT NULL,
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (station, sink)
);
"""
_KEPT = 100_000  # settled parts that stay for the record; older ones are forgotten


@dataclass(frozen=True)
class Part:
    """A part as it was taken. key: its name everywhere; sequence: its number on this machine; taken_at: Unix s."""

    sequence: int
    key: str
    station: str
    part_id: str
    filename: str
    taken_at: float


@dataclass(frozen=True)
class Finding:
    """What the service said of a part, or why nothing: outcome and detail."""

    outcome: Outcome
    verdict: str | None = None
    score: float | None = None
    threshold: float | None = None
    category: str | None = None
    inspection_id: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Decided:
    """What was told to the gate. because: verdict or fail-safe; late or restart mean that nothing was told."""

    decision: DecisionTaken
    because: Literal["verdict", "fail-safe", "late", "restart"]
    after_ms: float | None


@dataclass(frozen=True)
class Record:
    """All that is known of a part that is done."""

    part: Part
    decided: Decided
    finding: Finding


class Parts:
    """The store of one agent, in one SQLite file. Safe for several threads; each method is one durable transaction."""

    def __init__(self, path: Path, most_pictures: int, most_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._most = (most_pictures, most_bytes)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        # One agent a file: two would each believe the other's parts to be left over from a crash.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        with self._lock, self._database:
            self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def recover(self, stations: Sequence[str]) -> int:
        """After a start: parts that were not decided on are missed, since nobody will wait for them now."""
        marks = ",".join("?" * len(stations))
        with self._lock:
            return self._database.execute(
                f"UPDATE part SET decision = 'missed', because = 'restart' "
                f"WHERE decision IS NULL AND station IN ({marks})", stations,
            ).rowcount  # fmt: skip

    def expect(self, station: str, sink: str) -> None:
        """A sink that this store has not known gets the records of parts that are taken from now on."""
        with self._lock:
            self._database.execute(
                "INSERT INTO delivered VALUES (?, ?, (SELECT coalesce(max(sequence), 0) FROM part)) "
                "ON CONFLICT DO NOTHING", (station, sink),
            )  # fmt: skip

    def has_room(self, size: int) -> bool:
        """Whether a picture of so many bytes fits."""
        with self._lock:
            count, total = self._database.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM part WHERE picture IS NOT NULL"
            ).fetchone()
        return bool(count < self._most[0] and total + size <= self._most[1])

    def put(
        self, station: str, picture: bytes | None, filename: str, part_id: str | None, origin: str | None = None
    ) -> Part | None:
        """Take a part. None when a part of the same origin has been taken before."""
        key = uuid.uuid4().hex
        part_id, taken_at = part_id or key, time.time()
        with self._lock:
            cursor = self._database.execute(
                "INSERT INTO part (key, station, part_id, origin, filename, taken_at, picture, size) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (station, origin) DO NOTHING",
                (key, station, part_id, origin, filename, taken_at, picture, len(picture or b"")),
            )
            if cursor.rowcount == 0:
                return None
            return Part(int(cursor.lastrowid or 0), key, station, part_id, filename, taken_at)

    def decide(self, part: Part, decided: Decided) -> None:
        """Keep what was told to the gate; the first word stands."""
        with self._lock:
            self._database.execute(
                "UPDATE part SET decision = ?, because = ?, decided_after_ms = ? "
                "WHERE sequence = ? AND decision IS NULL",
                (decided.decision, decided.because, decided.after_ms, part.sequence),
            )

    def finish(self, part: Part, finding: Finding) -> bool:
        """Keep what became of a part. False when that was known already."""
        values = (finding.outcome, finding.verdict, finding.score, finding.threshold, finding.category,
                  finding.inspection_id, finding.detail, part.sequence)  # fmt: skip
        with self._lock:
            return self._database.execute(
                "UPDATE part SET outcome = ?, verdict = ?, score = ?, threshold = ?, category = ?, inspection_id = ?, "
                "detail = ? WHERE sequence = ? AND outcome IS NULL", values,
            ).rowcount == 1  # fmt: skip

    def oldest_left(self, station: str, but: Iterable[int]) -> tuple[Part, bytes | None] | None:
        """The first part still to be inspected, other than some, with its picture."""
        passed = set(but)
        with self._lock:
            rows = self._database.execute(
                "SELECT sequence FROM part WHERE station = ? AND outcome IS NULL ORDER BY sequence LIMIT ?",
                (station, len(passed) + 1),
            )  # fmt: skip
            found = next((row["sequence"] for row in rows if row["sequence"] not in passed), None)
            if found is None:
                return None
            row = self._database.execute("SELECT * FROM part WHERE sequence = ?", (found,)).fetchone()
        return _part(row), row["picture"]

    def left(self, station: str) -> int:
        """How many parts are still to be inspected."""
        with self._lock:
            [count] = self._database.execute(
                "SELECT count(*) FROM part WHERE station = ? AND outcome IS NULL", (station,)
            ).fetchone()
        return int(count)

    # Records on their way to the sinks

    def next_record(self, station: str, sink: str) -> tuple[Record, bytes | None] | None:
        """The next record for a sink, in order: None while there is none, or while an earlier part is not done."""
        with self._lock:
            row = self._database.execute(
                "SELECT * FROM part WHERE station = ? AND sequence > coalesce("
                "(SELECT sequence FROM delivered WHERE station = ? AND sink = ?), 0) ORDER BY sequence LIMIT 1",
                (station, station, sink),
            ).fetchone()
        if row is None or row["outcome"] is None or row["decision"] is None:
            return None
        decided = Decided(row["decision"], row["because"], row["decided_after_ms"])
        finding = Finding(row["outcome"], row["verdict"], row["score"], row["threshold"], row["category"],
                          row["inspection_id"], row["detail"])  # fmt: skip
        return Record(_part(row), decided, finding), row["picture"]

    def delivered(self, station: str, sink: str, record: Record) -> None:
        """Keep that a sink has a record."""
        with self._lock:
            self._database.execute(
                "INSERT INTO delivered VALUES (?, ?, ?) "
                "ON CONFLICT (station, sink) DO UPDATE SET sequence = excluded.sequence",
                (station, sink, record.part.sequence),
            )

    def settle(self, station: str, sinks: Sequence[str]) -> None:
        """Let go of the pictures of parts that are done and whose records every sink has, and forget the oldest."""
        with self._lock:
            had = dict(self._database.execute("SELECT sink, sequence FROM delivered WHERE station = ?", (station,)))
            up_to = min((had.get(sink, 0) for sink in sinks), default=1 << 62)
            self._database.execute(
                "UPDATE part SET picture = NULL WHERE station = ? AND sequence <= ? AND picture IS NOT NULL "
                "AND outcome IS NOT NULL AND decision IS NOT NULL", (station, up_to),
            )  # fmt: skip
            self._database.execute(
                "DELETE FROM part WHERE station = ? AND sequence <= ? AND picture IS NULL AND outcome IS NOT NULL AND "
                "decision IS NOT NULL AND sequence <= (SELECT max(sequence) FROM part) - ?", (station, up_to, _KEPT),
            )  # fmt: skip


def _part(row: sqlite3.Row) -> Part:
    return Part(row["sequence"], row["key"], row["station"], row["part_id"], row["filename"], row["taken_at"])
