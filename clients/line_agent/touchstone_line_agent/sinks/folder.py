"""Records as files in a folder, with their pictures."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from touchstone_client import IMAGE_SUFFIXES
from touchstone_line_agent import payloads
from touchstone_line_agent.config import FolderSink
from touchstone_line_agent.parts import Record
from touchstone_line_agent.sinks import SinkFailed


class FolderOfRecords:
    """Writes `<sequence>-<key>.json`, and the picture beside it; writing a record again changes nothing."""

    def __init__(self, config: FolderSink) -> None:
        self._config = config
        self.name = f"folder:{config.path}"

    async def deliver(self, record: Record, picture: bytes | None) -> None:
        """Write it. SinkFailed."""
        try:
            await asyncio.to_thread(self._write, record, picture)
        except OSError as error:
            raise SinkFailed(f"{self._config.path}: {error.strerror}") from error

    async def close(self) -> None:
        """Nothing is left open."""

    def _write(self, record: Record, picture: bytes | None) -> None:
        folder = self._config.path
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{record.part.sequence:08d}-{record.part.key}"
        wanted = self._config.pictures == "all" or (
            self._config.pictures == "rejected" and record.decided.decision != "accept"
        )
        if wanted and picture is not None:
            suffix = Path(record.part.filename).suffix.lower()
            _replace(folder / f"{stem}{suffix if suffix in IMAGE_SUFFIXES else ''}", picture)
        _replace(folder / f"{stem}.json", json.dumps(payloads.record(record), indent=2).encode())


def _replace(path: Path, data: bytes) -> None:
    """Either the whole file is there, durably, or none of it."""
    unfinished = path.with_name(f".{path.name}.tmp")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
