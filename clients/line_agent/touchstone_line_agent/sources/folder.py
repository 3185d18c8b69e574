"""Watches a folder: each picture file that appears and no longer changes is a part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from touchstone_line_agent.config import FolderSource
from touchstone_line_agent.sources import Taken

_TAKEN = "taken"


class Folder:
    """Looks at the folder again and again: unlike notifications, that works on network shares too.

    A file is moved or deleted once it is safe in the store. Should the agent die in between, the file is recognised by
    its name, size and time, and only moved or deleted.
    """

    def __init__(self, config: FolderSource) -> None:
        self._config = config
        self._unchanged_since: dict[Path, tuple[tuple[int, int], float]] = {}

    async def run(self, take: Callable[[Taken], Awaitable[None]]) -> None:
        """Bring files in order of their time and name."""
        while True:
            for path, identity in await asyncio.to_thread(self._complete):
                data = await asyncio.to_thread(path.read_bytes)
                await take(Taken(data, path.name, path.stem, f"{path.name}/{identity[0]}/{identity[1]}"))
                await asyncio.to_thread(self._away, path)
            await asyncio.sleep(self._config.every_ms / 1000)

    def _complete(self) -> list[tuple[Path, tuple[int, int]]]:
        """Files that have not changed for as long as it takes, with (time in ns, bytes)."""
        now = time.monotonic()
        seen: dict[Path, tuple[tuple[int, int], float]] = {}
        for path in self._config.path.glob(self._config.pattern):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.name.startswith(".") or not path.is_file():
                continue
            identity = (status.st_mtime_ns, status.st_size)
            before = self._unchanged_since.get(path)
            seen[path] = before if before is not None and before[0] == identity else (identity, now)
        self._unchanged_since = seen
        settle = self._config.settle_ms / 1000
        complete = [(path, identity) for path, (identity, since) in seen.items() if now - since >= settle]
        return sorted(complete, key=lambda each: (each[1][0], each[0].name))

    def _away(self, path: Path) -> None:
        if self._config.then == "delete":
            path.unlink(missing_ok=True)
        else:
            (path.parent / _TAKEN).mkdir(exist_ok=True)
            path.replace(path.parent / _TAKEN / path.name)
        self._unchanged_since.pop(path, None)
