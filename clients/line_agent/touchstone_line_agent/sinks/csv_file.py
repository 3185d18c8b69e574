"""Appends records to a CSV file."""

from __future__ import annotations

import asyncio
import csv
import io
import os

from touchstone_line_agent.config import CsvSink
from touchstone_line_agent.part import Record
from touchstone_line_agent.payloads import record_payload
from touchstone_line_agent.sinks.base import SinkFailed
from touchstone_line_agent.sinks.durable import make_folder, sync_folder

_COLUMNS = (
    "sequence",
    "key",
    "station",
    "part_id",
    "captured_at",
    "outcome",
    "verdict",
    "decision",
    "reason",
    "after_ms",
    "score",
    "threshold",
    "category",
    "inspection_id",
    "filename",
    "detail",
    "not_sent",
)
_BLOCK_BYTES = 64 << 10  # more than any line has


class CsvRecords:
    """Appends a line and flushes it to disk.

    An incomplete last line, left by a power failure, is deleted: its record was not delivered, and is written again.
    """

    def __init__(self, config: CsvSink) -> None:
        self._path = config.path
        self.name = f"csv:{config.path}"

    async def deliver(self, record: Record, image: bytes | None) -> None:
        """Append a record, unless it is the last line already. SinkFailed."""
        try:
            await asyncio.to_thread(self._append, record_payload(record))
        except OSError as error:
            raise SinkFailed(f"{self._path}: {error.strerror}") from error

    async def close(self) -> None:
        """No file stays open."""

    def _append(self, values: dict[str, object]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, extrasaction="raise")
        make_folder(self._path.parent)
        with self._path.open("ab+") as file:
            end = _end_of_last_line(file.seek(0, io.SEEK_END), file)
            file.truncate(end)
            if end == 0:
                sync_folder(self._path.parent)
                writer.writeheader()
            elif str(values["key"]).encode() in _last_line(end, file):
                return
            writer.writerow({name: _cell(value) for name, value in values.items()})
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())


def _cell(value: object) -> object:
    """A value on one line. A leading quote keeps spreadsheets from running text as a formula."""
    if isinstance(value, dict):
        value = "; ".join(f"{name}: {text}" for name, text in value.items())
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") else line


def _end_of_last_line(size: int, file: io.BufferedRandom) -> int:
    """The offset after the last complete line."""
    start = max(0, size - _BLOCK_BYTES)
    file.seek(start)
    return start + file.read(size - start).rfind(b"\n") + 1


def _last_line(end: int, file: io.BufferedRandom) -> bytes:
    start = max(0, end - _BLOCK_BYTES)
    file.seek(start)
    return file.read(end - start).rstrip(b"\r\n").rpartition(b"\n")[2]
