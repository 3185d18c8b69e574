"""Stores every captured part in SQLite until its record has been delivered to every sink."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from touchstone_client.text import MAX_FILENAME_LENGTH, MAX_NAME_LENGTH, sanitize
from touchstone_line_agent.part import GateDecision, InspectionResult, Part, PartStatus, Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS part (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    station TEXT NOT NULL,
    part_id TEXT NOT NULL,
    origin TEXT,
    filename TEXT NOT NULL,
    captured_at REAL NOT NULL,
    image BLOB,
    size INTEGER NOT NULL,
    outcome TEXT,
    decision TEXT,
    reason TEXT,
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
CREATE INDEX IF NOT EXISTS part_with_image ON part (station, sequence, size) WHERE image IS NOT NULL;
CREATE INDEX IF NOT EXISTS part_pending ON part (station, sequence) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS delivered (
    station TEXT NOT NULL,
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (station, sink)
);
CREATE TABLE IF NOT EXISTS rejected_record (
    station TEXT NOT NULL,
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (sequence, sink)
);
"""
_VERSION = 1  # of the schema, in SQLite's user_version
_UPGRADE_FROM_0 = """
DROP INDEX IF EXISTS part_with_picture;
DROP INDEX IF EXISTS part_waiting;
ALTER TABLE part RENAME COLUMN picture TO image;
ALTER TABLE part RENAME COLUMN because TO reason;
ALTER TABLE part RENAME COLUMN taken_at TO captured_at;
UPDATE part SET outcome = 'no-image' WHERE outcome = 'no-picture';
UPDATE part SET outcome = 'store-full' WHERE outcome = 'no-room';
CREATE TABLE IF NOT EXISTS not_taken (
    station TEXT NOT NULL,
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (sequence, sink)
);
ALTER TABLE not_taken RENAME COLUMN why TO reason;
ALTER TABLE not_taken RENAME TO rejected_record;
"""
_MAX_DETAIL_LENGTH = 1000
_MAX_COMPLETED = 100_000  # rows of completed parts; older ones are deleted


class StoreUnusable(Exception):
    """The file cannot be opened as a store; the message is one line that names it."""


class PartStore:
    """The parts of one agent, in one SQLite file. Safe for several threads; each method is one durable transaction.

    Text from file names, triggers and responses is sanitized here, so that every sink accepts it.
    """

    def __init__(self, path: Path, max_images: int, max_bytes: int) -> None:
        """Open or create the file, also on a full disk if it is there. OSError; StoreUnusable."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._max_images, self.max_bytes = max_images, max_bytes
        self._lock = threading.Lock()
        self._reserved: set[tuple[str, int]] = set()  # stations and numbers of parts that are not inserted yet
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.row_factory = sqlite3.Row
            # One agent per file: a second one would take the first one's parts for leftovers of a crash.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            _create_or_upgrade(self._database)
            [self._last] = self._database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        except sqlite3.Error as error:
            is_in_use = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            raise StoreUnusable(f"{path}: {'another line agent uses it' if is_in_use else error}") from error
        self._last_of_earlier_runs = self._last

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def recover(self, stations: Sequence[str]) -> int:
        """Mark undecided parts of earlier runs as missed: no gate waits for them. Returns how many there were."""
        marks = ",".join("?" * len(stations))
        statement = (
            "UPDATE part SET decision = 'missed', reason = 'restart' "
            f"WHERE decision IS NULL AND sequence <= ? AND station IN ({marks})"
        )
        with self._lock:
            return self._database.execute(statement, (self._last_of_earlier_runs, *stations)).rowcount

    def register_sink(self, station: str, sink: str) -> None:
        """A sink that is new to this store receives the records of parts captured from now on."""
        statement = (
            "INSERT INTO delivered VALUES (?, ?, (SELECT coalesce(max(sequence), 0) FROM part)) ON CONFLICT DO NOTHING"
        )
        with self._lock:
            self._database.execute(statement, (station, sink))

    def has_space(self, size: int) -> bool:
        """Whether an image of so many bytes fits."""
        with self._lock:
            count, total = self._database.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM part WHERE image IS NOT NULL"
            ).fetchone()
        return bool(count < self._max_images and total + size <= self.max_bytes)

    def new_part(self, station: str, filename: str, part_id: str | None) -> Part:
        """Number a new part. Later records of its station are held back until it is inserted."""
        key = uuid.uuid4().hex
        with self._lock:
            self._last += 1
            sequence = self._last
            self._reserved.add((station, sequence))
        part_id, filename = sanitize(part_id or key, MAX_NAME_LENGTH), sanitize(filename, MAX_FILENAME_LENGTH)
        return Part(sequence, key, station, part_id, filename, time.time())

    def insert(self, part: Part, image: bytes | None, origin: str | None = None) -> bool:
        """Store a part. False when it, or another one of its origin, is stored already."""
        values = (part.sequence, part.key, part.station, part.part_id, origin, part.filename, part.captured_at, image)
        statement = (
            "INSERT INTO part (sequence, key, station, part_id, origin, filename, captured_at, image, size) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        )
        with self._lock:
            done = self._database.execute(statement, (*values, len(image or b"")))
            self._reserved.discard((part.station, part.sequence))
            return done.rowcount == 1

    def release_origin(self, station: str, origin: str) -> None:
        """Let the next part of this origin be a new one: the source can no longer deliver the stored one again."""
        with self._lock:
            self._database.execute("UPDATE part SET origin = NULL WHERE station = ? AND origin = ?", (station, origin))

    def save_decision(self, part: Part, decision: GateDecision) -> None:
        """Store the decision sent to the gates; an earlier one is not replaced."""
        not_sent = _json(decision.not_sent)
        statement = (
            "UPDATE part SET decision = ?, reason = ?, decided_after_ms = ?, "
            "not_sent = json_patch(coalesce(not_sent, '{}'), ?) WHERE sequence = ? AND decision IS NULL"
        )
        with self._lock:
            self._database.execute(
                statement, (decision.decision, decision.reason, decision.after_ms, not_sent, part.sequence)
            )

    def add_not_sent(self, part: Part, sink: str, reason: str) -> None:
        """Store, after the decision, that a sink did not receive it."""
        with self._lock:
            self._database.execute(
                "UPDATE part SET not_sent = json_patch(coalesce(not_sent, '{}'), ?) WHERE sequence = ?",
                (_json({sink: reason}), part.sequence),
            )

    def save_result(self, part: Part, result: InspectionResult) -> bool:
        """Store a part's result. False when it has one already."""
        texts = map(_sanitize_detail, (result.category, result.inspection_id, result.detail))
        values = (result.outcome, _sanitize_detail(result.verdict), result.score, result.threshold, *texts)
        statement = (
            "UPDATE part SET outcome = ?, verdict = ?, score = ?, threshold = ?, category = ?, inspection_id = ?, "
            "detail = ? WHERE sequence = ? AND outcome IS NULL"
        )
        with self._lock:
            return self._database.execute(statement, (*values, part.sequence)).rowcount == 1

    def oldest_pending(self, station: str, exclude: Iterable[int]) -> tuple[Part, bytes | None] | None:
        """The oldest part without a result, and its image. exclude: sequence numbers to ignore."""
        excluded = set(exclude)
        with self._lock:
            rows = self._database.execute(
                "SELECT sequence FROM part WHERE station = ? AND outcome IS NULL ORDER BY sequence LIMIT ?",
                (station, len(excluded) + 1),
            )
            oldest = next((row["sequence"] for row in rows if row["sequence"] not in excluded), None)
            if oldest is None:
                return None
            row = self._database.execute("SELECT * FROM part WHERE sequence = ?", (oldest,)).fetchone()
        return _part(row), row["image"]

    def pending_count(self, station: str) -> int:
        """How many parts have no result."""
        with self._lock:
            [count] = self._database.execute(
                "SELECT count(*) FROM part WHERE station = ? AND outcome IS NULL", (station,)
            ).fetchone()
        return int(count)

    # Delivery

    def next_record(self, station: str, sink: str, after: Record | None = None) -> tuple[Record, bytes | None] | None:
        """The next record to deliver to a sink, in order; None when there is none, or an earlier part is incomplete.

        after: skip this record although the sink has not received it.
        """
        with self._lock:
            row = self._database.execute(
                "SELECT * FROM part WHERE station = ? AND sequence > max(?, coalesce("
                "(SELECT sequence FROM delivered WHERE station = ? AND sink = ?), 0)) ORDER BY sequence LIMIT 1",
                (station, 0 if after is None else after.part.sequence, station, sink),
            ).fetchone()
            first_reserved = min((number for owner, number in self._reserved if owner == station), default=None)
        if row is None or (first_reserved is not None and first_reserved < row["sequence"]):
            return None
        decision, result = _decision(row), _result(row)
        if decision is None or result is None:
            return None
        return Record(_part(row), decision, result), row["image"]

    def mark_delivered(self, station: str, sink: str, record: Record) -> None:
        """Store that a sink has received a record."""
        with self._lock:
            self._database.execute(
                "INSERT INTO delivered VALUES (?, ?, ?) "
                "ON CONFLICT (station, sink) DO UPDATE SET sequence = excluded.sequence",
                (station, sink, record.part.sequence),
            )

    def mark_rejected(self, station: str, sink: str, record: Record, reason: str) -> None:
        """Store that a sink rejected a record for good, and continue with the next one."""
        values = (station, sink, record.part.sequence, sanitize(reason, _MAX_DETAIL_LENGTH))
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO rejected_record VALUES (?, ?, ?, ?)", values)
        self.mark_delivered(station, sink, record)

    def latest(self, count: int) -> list[PartStatus]:
        """The last parts captured, newest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT sequence, key, station, part_id, filename, captured_at, outcome, decision, reason, "
                "decided_after_ms, not_sent, verdict, score, threshold, category, inspection_id, detail "
                "FROM part ORDER BY sequence DESC LIMIT ?",
                (count,),
            ).fetchall()
            first = rows[-1]["sequence"] if rows else 0
            rejected = self._database.execute(
                "SELECT sequence, sink, reason FROM rejected_record WHERE sequence >= ?", (first,)
            ).fetchall()
        rejected_by: dict[int, dict[str, str]] = {}
        for row in rejected:
            rejected_by.setdefault(row["sequence"], {})[row["sink"]] = row["reason"]
        return [
            PartStatus(_part(row), _decision(row), _result(row), rejected_by.get(row["sequence"], {})) for row in rows
        ]

    def prune(self, station: str, sinks: Sequence[str]) -> None:
        """Delete the images of completed parts whose records every sink has, and the oldest rows of such parts."""
        completed = "station = ? AND sequence <= ? AND outcome IS NOT NULL AND decision IS NOT NULL"
        with self._lock:
            delivered = dict(
                self._database.execute("SELECT sink, sequence FROM delivered WHERE station = ?", (station,))
            )
            up_to = min((delivered.get(sink, 0) for sink in sinks), default=1 << 62)
            self._database.execute(
                f"UPDATE part SET image = NULL WHERE {completed} AND image IS NOT NULL", (station, up_to)
            )
            self._database.execute(
                f"DELETE FROM part WHERE {completed} AND image IS NULL "
                "AND sequence <= (SELECT max(sequence) FROM part) - ?",
                (station, up_to, _MAX_COMPLETED),
            )
            self._database.execute(
                "DELETE FROM rejected_record WHERE sequence < coalesce((SELECT min(sequence) FROM part), 0)"
            )


def _create_or_upgrade(database: sqlite3.Connection) -> None:
    [version] = database.execute("PRAGMA user_version").fetchone()
    columns = {row["name"] for row in database.execute("PRAGMA table_info(part)")}
    if version == _VERSION and "not_sent" in columns:
        return  # nothing is written, for which a full disk has no space
    upgrade = _UPGRADE_FROM_0 if columns and version == 0 else ""
    if columns and "not_sent" not in columns:
        upgrade += "ALTER TABLE part ADD COLUMN not_sent TEXT;"
    database.executescript(f"BEGIN; {upgrade} {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")


def _sanitize_detail(text: str | None) -> str | None:
    return None if text is None else sanitize(text, _MAX_DETAIL_LENGTH)


def _json(reasons: Mapping[str, str]) -> str:
    return json.dumps({sink: sanitize(reason, _MAX_DETAIL_LENGTH) for sink, reason in reasons.items()})


def _decision(row: sqlite3.Row) -> GateDecision | None:
    if row["decision"] is None:
        return None
    return GateDecision(row["decision"], row["reason"], row["decided_after_ms"], json.loads(row["not_sent"] or "{}"))


def _result(row: sqlite3.Row) -> InspectionResult | None:
    if row["outcome"] is None:
        return None
    return InspectionResult(
        row["outcome"],
        row["verdict"],
        row["score"],
        row["threshold"],
        row["category"],
        row["inspection_id"],
        row["detail"],
    )


def _part(row: sqlite3.Row) -> Part:
    return Part(row["sequence"], row["key"], row["station"], row["part_id"], row["filename"], row["captured_at"])
