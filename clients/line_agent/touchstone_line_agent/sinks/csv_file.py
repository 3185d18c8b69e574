"""Records as lines of a CSV file."""

from __future__ import annotations

import asyncio
import csv
import io
import os

from touchstone_line_agent import payloads
from touchstone_line_agent.config import CsvSink
from touchstone_line_agent.parts import Record
from touchstone_line_agent.sinks import SinkFailed

_COLUMNS = ("sequence", "key", "station", "part_id", "taken_at", "outcome", "verdict", "decision", "because",
            "after_ms", "score", "threshold", "category", "inspection_id", "filename", "detail",
            "not_sent")  # fmt: skip


class CsvFile:
    """Appends a line and waits until it is on the disk.

    A line that a power cut left half written is dropped, and written anew: its record was not delivered yet.
    """

    def __init__(self, config: CsvSink) -> None:
        self._path = config.path
        self.name = f"csv:{config.path}"

    async def deliver(self, record: Record, picture: bytes | None) -> None:
        """Append it, unless it is the last line already. SinkFailed."""
        try:
            await asyncio.to_thread(self._append, payloads.record(record))
        except OSError as error:
            raise SinkFailed(f"{self._path}: {error.strerror}") from error

    async def close(self) -> None:
        """Nothing is left open."""

    def _append(self, values: dict[str, object]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, extrasaction="raise")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            end = _whole_lines(file.seek(0, io.SEEK_END), file)
            file.truncate(end)
            if end == 0:
                writer.writeheader()
            elif str(values["key"]).encode() in _last_line(end, file):
                return
            writer.writerow({name: _cell(value) for name, value in values.items()})
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())


def _cell(value: object) -> object:
    """Text on one line. Spreadsheets run text that begins like a formula: a quote mark keeps it text."""
    if isinstance(value, dict):
        value = "; ".join(f"{name}: {why}" for name, why in value.items())
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") else line


_BLOCK = 64 << 10  # longer than any line


def _whole_lines(size: int, file: io.BufferedRandom) -> int:
    """Where the last whole line ends."""
    start = max(0, size - _BLOCK)
    file.seek(start)
    return start + file.read(size - start).rfind(b"\n") + 1


def _last_line(end: int, file: io.BufferedRandom) -> bytes:
    start = max(0, end - _BLOCK)
    file.seek(start)
    return file.read(end - start).rstrip(b"\r\n").rpartition(b"\n")[2]
