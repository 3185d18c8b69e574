"""Watches a folder: each complete image file that appears in it is a part."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from touchstone_client.text import sanitize
from touchstone_line_agent.config import FolderSource
from touchstone_line_agent.part import InspectionResult
from touchstone_line_agent.sources.base import CapturedImage
from touchstone_line_agent.sources.completeness import is_complete
from touchstone_line_agent.sources.folder_listing import HIDDEN, FileState, WatchedFolder, file_state

log = logging.getLogger("touchstone.line_agent")

T = TypeVar("T")

_DONE, _UNREADABLE = "done", "unreadable"  # subfolders of the watched folder
_MAX_BYTES = 256 << 20  # of a file; the service's limit is lower
_READ_RETRY_S = 0.5
_MOVE_RETRY_S = 5.0
_SLOW_AFTER_S = 5.0
_MAX_LISTED = 10  # names in one message


@dataclass
class _File:
    """An image file that is not stored yet, or not moved yet.

    since: when it got its state, on the monotonic clock. incomplete: it was read and is not complete. error: why it
    cannot be read or moved. origin: set once it is stored. target: the subfolder to move it to. next_attempt: earliest
    time of the next attempt after an error.
    """

    state: FileState
    since: float
    incomplete: bool = False
    error: str = ""
    origin: str | None = None
    target: str = _DONE
    next_attempt: float = 0.0


class FolderFeed:
    """Polls the folder, since network shares send no notifications.

    A file is read once it has not changed for `settle_ms` and is complete. One that stays incomplete for
    `incomplete_ms` is read as it is; one that stays unreadable becomes a part without an image. A file is moved or
    deleted after it is stored. If the agent dies in between, the file is recognised by name, time and content, and only
    moved or deleted. No file blocks the others. error: why files are not read or moved now.
    """

    def __init__(self, config: FolderSource) -> None:
        self._config = config
        self._folder = WatchedFolder(config.path, config.pattern, config.mount_point)
        self._files: dict[Path, _File] = {}
        self._ignored: Mapping[str, tuple[str, ...]] = {}
        self._released: list[str] = []  # origins that cannot be delivered again
        self.error = ""

    @property
    def ignored(self) -> list[str]:
        """Ignored files, one short text per reason."""
        return [f"{len(names)} {reason}: {_abbreviate(names)}" for reason, names in self._ignored.items()]

    def count_ignored(self, reason: str) -> int:
        """How many files are ignored for a reason."""
        return len(self._ignored.get(reason, ()))

    async def run(
        self, accept: Callable[[CapturedImage], Awaitable[None]], release: Callable[[str], Awaitable[None]]
    ) -> None:
        """Deliver files ordered by time and name, until cancelled."""
        while True:
            try:
                due = await self._in_thread(self._poll)
            except OSError as error:
                self._report(f"{self._config.path}: {error.strerror or error}")
            else:
                for path in due:
                    await self._deliver(path, self._files[path], accept)
                failing = [f"{path.name} {file.error}" for path, file in self._files.items() if file.error]
                self._report(f"{self._config.path}: {_abbreviate(failing)}" if failing else "")
            while self._released:
                await release(self._released[0])
                self._released.pop(0)
            await asyncio.sleep(self._config.poll_interval_ms / 1000)

    def _poll(self) -> list[Path]:
        """Files to deliver or to move now. OSError when the folder does not exist."""
        listing = self._folder.list()
        now = time.monotonic()
        self._log_ignored(listing.ignored)
        for path, file in list(self._files.items()):
            if listing.images.get(path) == file.state:
                continue
            del self._files[path]
            if file.origin is not None:
                self._released.append(file.origin)
            elif path not in listing.images:
                log.warning("%s was deleted before it was read", path)
        for path, state in listing.images.items():
            self._files.setdefault(path, _File(state, now))
        due = [path for path, file in self._files.items() if self._is_due(file, now)]
        return sorted(due, key=lambda path: (self._files[path].state.modified_ns, path.name))

    def _is_due(self, file: _File, now: float) -> bool:
        if file.origin is not None or file.error:
            return now >= file.next_attempt
        is_settled = now - file.since >= self._config.settle_ms / 1000
        return is_settled and (not file.incomplete or self._is_overdue(file, now))

    def _is_overdue(self, file: _File, now: float) -> bool:
        return now - file.since >= self._config.incomplete_ms / 1000

    async def _deliver(self, path: Path, file: _File, accept: Callable[[CapturedImage], Awaitable[None]]) -> None:
        if file.origin is None:
            image = await self._in_thread(partial(self._read, path, file))
            if image is None:
                return
            await accept(image)
            file.origin, file.target = image.origin, _UNREADABLE if image.data is None else _DONE
        if await self._in_thread(partial(self._move, path, file)):
            self._released.append(file.origin)
            del self._files[path]

    def _read(self, path: Path, file: _File) -> CapturedImage | None:
        """A file's image; None when it is not complete yet."""
        overdue = self._is_overdue(file, time.monotonic())
        try:
            if file.state.size > _MAX_BYTES:
                reason = f"the file has {file.state.size} bytes, the maximum is {_MAX_BYTES}"
                return self._without_image(path, file, InspectionResult("refused", detail=reason))
            with path.open("rb") as opened:
                data = opened.read(_MAX_BYTES)
                unchanged = file_state(os.fstat(opened.fileno())) == file.state
        except FileNotFoundError:  # the next poll handles it
            return None
        except OSError as error:
            file.error = f"cannot be read: {error.strerror or error}"
            file.next_attempt = time.monotonic() + _READ_RETRY_S
            if not overdue:
                return None
            return self._without_image(path, file, InspectionResult("no-image", detail=f"the file {file.error}"))
        file.error = ""
        if not overdue and not (unchanged and is_complete(data)):
            file.incomplete = unchanged
            return None
        return CapturedImage(data, path.name, path.stem, _origin(path, file.state, data))

    def _without_image(self, path: Path, file: _File, fallback: InspectionResult) -> CapturedImage:
        return CapturedImage(None, path.name, path.stem, _origin(path, file.state, b""), fallback)

    def _move(self, path: Path, file: _File) -> bool:
        """Move or delete a stored file; whether it is no longer in the folder."""
        try:
            if file_state(path.stat()) != file.state:  # replaced by another file, which is not stored yet
                return True
            if self._config.after_read == "delete" and file.target == _DONE:
                path.unlink()
            else:
                folder = path.parent / file.target
                folder.mkdir(exist_ok=True)
                target = folder / path.name
                if target.exists():
                    target = folder / f"{path.stem}-{(file.origin or '')[:12]}{path.suffix}"
                path.rename(target)
        except FileNotFoundError:
            return True
        except OSError as error:
            file.error = f"cannot be moved: {error.strerror or error}"
            file.next_attempt = time.monotonic() + _MOVE_RETRY_S
            return False
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Access the file system on a thread, and report when it does not respond: an unavailable share may hang."""
        task = asyncio.ensure_future(asyncio.to_thread(work))
        while not (await asyncio.wait((task,), timeout=_SLOW_AFTER_S))[0]:
            self._report(f"{self._config.path}: the file system does not respond")
        return task.result()

    def _log_ignored(self, ignored: Mapping[str, tuple[str, ...]]) -> None:
        for reason, names in ignored.items():
            new = sorted(set(names).difference(self._ignored.get(reason, ())))
            if new and reason != HIDDEN:  # many programs write under a hidden name first
                log.info("%s: ignored, %s: %s", self._config.path, reason, _abbreviate(new))
        self._ignored = ignored

    def _report(self, error: str) -> None:
        if error != self.error:
            if error:
                log.warning("%s", error)
            else:
                log.info("%s: no errors any more", self._config.path)
        self.error = error


def _origin(path: Path, state: FileState, data: bytes) -> str:
    name = os.fsencode(path.name)
    return hashlib.sha256(b"%b\0%d %d\0%b" % (name, state.modified_ns, state.size, data)).hexdigest()


def _abbreviate(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return sanitize(", ".join(names[:_MAX_LISTED]) + more, 10_000)
