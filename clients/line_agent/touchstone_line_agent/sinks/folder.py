"""Writes records to a folder, one JSON file each, with their images."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from touchstone_client import IMAGE_SUFFIXES
from touchstone_line_agent.config import FolderSink
from touchstone_line_agent.part import Record
from touchstone_line_agent.payloads import record_payload
from touchstone_line_agent.sinks.base import SinkFailed
from touchstone_line_agent.sinks.durable import make_folder, sync_folder


class FolderRecords:
    """Writes `<sequence>-<key>.json` with the image beside it. Idempotent."""

    def __init__(self, config: FolderSink) -> None:
        self._config = config
        self.name = f"folder:{config.path}"

    async def deliver(self, record: Record, image: bytes | None) -> None:
        """Write a record. SinkFailed."""
        try:
            await asyncio.to_thread(self._write, record, image)
        except OSError as error:
            raise SinkFailed(f"{self._config.path}: {error.strerror}") from error

    async def close(self) -> None:
        """No file stays open."""

    def _write(self, record: Record, image: bytes | None) -> None:
        folder, mode = self._config.path, self._config.images
        make_folder(folder)
        stem = f"{record.part.sequence:08d}-{record.part.key}"
        if image is not None and (mode == "all" or (mode == "rejected" and record.decision.decision != "accept")):
            suffix = Path(record.part.filename).suffix.lower()
            _write_atomically(folder / f"{stem}{suffix if suffix in IMAGE_SUFFIXES else ''}", image)
        _write_atomically(folder / f"{stem}.json", json.dumps(record_payload(record), indent=2).encode())
        sync_folder(folder)


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
