"""Every part that was ever taken, on disk until its record has reached every sink: nothing lost, nothing twice."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from touchstone_client.text import MAX_FILENAME_LENGTH, MAX_NAME_LENGTH, sanitize

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
    not_sent TEXT,
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
CREATE TABLE IF NOT EXISTS not_taken (
    station TEXT NOT NULL,
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (sequence, sink)
);
"""
_LONGEST_DETAIL = 1000
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
    """What was told to the gates. because: verdict or fail-safe; late or restart mean that nothing was told.

    not_sent: by sink, why it could not be told in time.
    """

    decision: DecisionTaken
    because: Literal["verdict", "fail-safe", "late", "restart"]
    after_ms: float | None
    not_sent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """All that is known of a part that is done."""

    part: Part
    decided: Decided
    finding: Finding


@dataclass(frozen=True)
class Present:
    """What is known of a part by now. not_taken: by sink, why it did not take the record."""

    part: Part
    decided: Decided | None
    finding: Finding | None
    not_taken: Mapping[str, str]


class Parts:
    """The store of one agent, in one SQLite file. Safe for several threads; each method is one durable transaction.

    Text comes in as it is found, in a file's name, a trigger or an answer, and is made fit for every sink here.
    """

    def __init__(self, path: Path, most_pictures: int, most_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._most_pictures, self.most_bytes = most_pictures, most_bytes
        self._lock = threading.Lock()
        self._to_come: set[tuple[str, int]] = set()  # stations and numbers of parts that are not in the store yet
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        # One agent a file: two would each believe the other's parts to be left over from a crash.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        with self._lock, self._database:
            self._database.executescript(_SCHEMA)
            if "not_sent" not in {row["name"] for row in self._database.execute("PRAGMA table_info(part)")}:
                self._database.execute("ALTER TABLE part ADD COLUMN not_sent TEXT")  # of an agent before it had this
            [self._last] = self._database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()

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
        return bool(count < self._most_pictures and total + size <= self.most_bytes)

    def number(self, station: str, filename: str, part_id: str | None) -> Part:
        """A new part, which is not in the store yet: no later record of its station is handed out until it is."""
        key = uuid.uuid4().hex
        with self._lock:
            self._last += 1
            sequence = self._last
            self._to_come.add((station, sequence))
        part_id, filename = sanitize(part_id or key, MAX_NAME_LENGTH), sanitize(filename, MAX_FILENAME_LENGTH)
        return Part(sequence, key, station, part_id, filename, time.time())

    def enter(self, part: Part, picture: bytes | None, origin: str | None = None) -> bool:
        """Take a part. False when it is there already, or another of its origin is."""
        values = (part.sequence, part.key, part.station, part.part_id, origin, part.filename, part.taken_at, picture)
        with self._lock:
            done = self._database.execute(
                "INSERT INTO part (sequence, key, station, part_id, origin, filename, taken_at, picture, size) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (*values, len(picture or b"")),
            )
            self._to_come.discard((part.station, part.sequence))
            return done.rowcount == 1

    def forget_origin(self, station: str, origin: str) -> None:
        """What is brought under this origin from now on is another part: the source cannot bring the one that was."""
        with self._lock:
            self._database.execute("UPDATE part SET origin = NULL WHERE station = ? AND origin = ?", (station, origin))

    def decide(self, part: Part, decided: Decided) -> None:
        """Keep what was told to the gates; the first word stands."""
        values = (decided.decision, decided.because, decided.after_ms, _not_sent(decided.not_sent), part.sequence)
        with self._lock:
            self._database.execute(
                "UPDATE part SET decision = ?, because = ?, decided_after_ms = ?, "
                "not_sent = json_patch(coalesce(not_sent, '{}'), ?) WHERE sequence = ? AND decision IS NULL",
                values,
            )

    def add_not_sent(self, part: Part, sink: str, why: str) -> None:
        """Keep what turned out later: that a decision did not arrive."""
        with self._lock:
            self._database.execute(
                "UPDATE part SET not_sent = json_patch(coalesce(not_sent, '{}'), ?) WHERE sequence = ?",
                (_not_sent({sink: why}), part.sequence),
            )

    def finish(self, part: Part, finding: Finding) -> bool:
        """Keep what became of a part. False when that was known already."""
        values = (
            finding.outcome,
            _readable(finding.verdict),
            finding.score,
            finding.threshold,
            _readable(finding.category),
            _readable(finding.inspection_id),
            _readable(finding.detail),
            part.sequence,
        )
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

    def next_record(self, station: str, sink: str, after: Record | None = None) -> tuple[Record, bytes | None] | None:
        """The next record for a sink, in order: None while there is none, or while an earlier part is not done.

        after: the one after that, whether the sink has that or not.
        """
        with self._lock:
            row = self._database.execute(
                "SELECT * FROM part WHERE station = ? AND sequence > max(?, coalesce("
                "(SELECT sequence FROM delivered WHERE station = ? AND sink = ?), 0)) ORDER BY sequence LIMIT 1",
                (station, 0 if after is None else after.part.sequence, station, sink),
            ).fetchone()
            to_come = min((number for each, number in self._to_come if each == station), default=None)
        if row is None or (to_come is not None and to_come < row["sequence"]):
            return None
        decided, finding = _decided(row), _finding(row)
        if decided is None or finding is None:
            return None
        return Record(_part(row), decided, finding), row["picture"]

    def delivered(self, station: str, sink: str, record: Record) -> None:
        """Keep that a sink has a record."""
        with self._lock:
            self._database.execute(
                "INSERT INTO delivered VALUES (?, ?, ?) "
                "ON CONFLICT (station, sink) DO UPDATE SET sequence = excluded.sequence",
                (station, sink, record.part.sequence),
            )

    def not_taken(self, station: str, sink: str, record: Record, why: str) -> None:
        """Keep that a sink will never have a record, so that the next one may go there."""
        values = (station, sink, record.part.sequence, sanitize(why, _LONGEST_DETAIL))
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO not_taken VALUES (?, ?, ?, ?)", values)
        self.delivered(station, sink, record)

    def latest(self, count: int) -> list[Present]:
        """The parts taken last, newest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT sequence, key, station, part_id, filename, taken_at, outcome, decision, because, "
                "decided_after_ms, not_sent, verdict, score, threshold, category, inspection_id, detail "
                "FROM part ORDER BY sequence DESC LIMIT ?",
                (count,),
            ).fetchall()
            refused = self._database.execute(
                "SELECT sequence, sink, why FROM not_taken WHERE sequence >= ?", (rows[-1]["sequence"] if rows else 0,)
            ).fetchall()
        return [
            Present(
                _part(row),
                _decided(row),
                _finding(row),
                {each["sink"]: each["why"] for each in refused if each["sequence"] == row["sequence"]},
            )
            for row in rows
        ]

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
            self._database.execute(
                "DELETE FROM not_taken WHERE sequence < coalesce((SELECT min(sequence) FROM part), 0)"
            )


def _readable(text: str | None) -> str | None:
    return None if text is None else sanitize(text, _LONGEST_DETAIL)


def _not_sent(given: Mapping[str, str]) -> str:
    return json.dumps({sink: sanitize(why, _LONGEST_DETAIL) for sink, why in given.items()})


def _decided(row: sqlite3.Row) -> Decided | None:
    if row["decision"] is None:
        return None
    not_sent = json.loads(row["not_sent"] or "{}")
    return Decided(row["decision"], row["because"], row["decided_after_ms"], not_sent)


def _finding(row: sqlite3.Row) -> Finding | None:
    if row["outcome"] is None:
        return None
    return Finding(
        row["outcome"],
        row["verdict"],
        row["score"],
        row["threshold"],
        row["category"],
        row["inspection_id"],
        row["detail"],
    )


def _part(row: sqlite3.Row) -> Part:
    return Part(row["sequence"], row["key"], row["station"], row["part_id"], row["filename"], row["taken_at"])
