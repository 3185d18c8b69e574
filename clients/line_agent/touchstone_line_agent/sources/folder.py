"""Watches a folder: each image file that appears and is whole is a part."""

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
from touchstone_line_agent.parts import Finding
from touchstone_line_agent.sources import Taken
from touchstone_line_agent.sources.listing import HIDDEN, State, Watched, state_of
from touchstone_line_agent.sources.whole import is_whole

log = logging.getLogger("touchstone.line_agent")

T = TypeVar("T")

_TAKEN, _UNREADABLE = "taken", "unreadable"  # folders inside the watched one
_LARGEST = 256 << 20  # bytes of a file; the service takes less
_READ_AGAIN_S = 0.5
_MOVE_AGAIN_S = 5.0
_PATIENCE_S = 5.0
_NAMED = 10  # of many


@dataclass
class _File:
    """An image file that is not taken yet, or is and still there. since: it is as it is, on the monotonic clock.

    incomplete: it was read and is not whole. why: it cannot be read, or not be moved. origin: it was taken as that.
    into: the folder for it then. again: when to try next.
    """

    state: State
    since: float
    incomplete: bool = False
    why: str = ""
    origin: str | None = None
    into: str = _TAKEN
    again: float = 0.0


class Folder:
    """Looks at the folder again and again: unlike notifications, that works on network shares too.

    A file is taken once it has not changed for `settle_ms` and is whole; one that stays as it is for `incomplete_ms` is
    taken as it is, or as a part without an image if it cannot be read. It is moved or deleted once it is safe in the
    store; should the agent die in between, it is recognised by its name, time and content, and only moved or deleted.
    No file keeps the others waiting. trouble: why nothing, or not everything, is taken and moved now.
    """

    def __init__(self, config: FolderSource) -> None:
        self._config = config
        self._watched = Watched(config.path, config.pattern, config.mounted_at)
        self._files: dict[Path, _File] = {}
        self._ignored: Mapping[str, tuple[str, ...]] = {}
        self._gone: list[str] = []  # origins that cannot be brought again
        self.trouble = ""

    @property
    def ignored(self) -> list[str]:
        """What is in the folder and passed over, by reason, in a few words each."""
        return [f"{len(names)} {why}: {_some(names)}" for why, names in self._ignored.items()]

    def count_ignored(self, why: str) -> int:
        """How many files are passed over for a reason."""
        return len(self._ignored.get(why, ()))

    async def run(self, take: Callable[[Taken], Awaitable[None]], forget: Callable[[str], Awaitable[None]]) -> None:
        """Bring files in order of their time and name, for ever."""
        while True:
            try:
                due = await self._answered(self._look)
            except OSError as error:
                self._say(f"{self._config.path}: {error.strerror or error}")
            else:
                for path in due:
                    await self._bring(path, self._files[path], take)
                stuck = [f"{path.name} {file.why}" for path, file in self._files.items() if file.why]
                self._say(f"{self._config.path}: {_some(stuck)}" if stuck else "")
            while self._gone:
                await forget(self._gone[0])
                self._gone.pop(0)
            await asyncio.sleep(self._config.every_ms / 1000)

    def _look(self) -> list[Path]:
        """Files to take, or to move, now. OSError when the folder is not there."""
        found = self._watched.list()
        now = time.monotonic()
        self._note_ignored(found.ignored)
        for path, file in list(self._files.items()):
            if found.images.get(path) == file.state:
                continue
            del self._files[path]
            if file.origin is not None:
                self._gone.append(file.origin)
            elif path not in found.images:
                log.warning("%s has gone before it was taken", path)
        for path, state in found.images.items():
            self._files.setdefault(path, _File(state, now))
        due = [path for path, file in self._files.items() if self._is_due(file, now)]
        return sorted(due, key=lambda path: (self._files[path].state.modified_ns, path.name))

    def _is_due(self, file: _File, now: float) -> bool:
        if file.origin is not None or file.why:
            return now >= file.again
        settled = now - file.since >= self._config.settle_ms / 1000
        return settled and (not file.incomplete or self._is_overdue(file, now))

    def _is_overdue(self, file: _File, now: float) -> bool:
        return now - file.since >= self._config.incomplete_ms / 1000

    async def _bring(self, path: Path, file: _File, take: Callable[[Taken], Awaitable[None]]) -> None:
        if file.origin is None:
            taken = await self._answered(partial(self._read, path, file))
            if taken is None:
                return
            await take(taken)
            file.origin, file.into = taken.origin, _UNREADABLE if taken.data is None else _TAKEN
        if await self._answered(partial(self._move, path, file)):
            self._gone.append(file.origin)
            del self._files[path]

    def _read(self, path: Path, file: _File) -> Taken | None:
        """A file as a part, if it is one by now."""
        overdue = self._is_overdue(file, time.monotonic())
        try:
            if file.state.size > _LARGEST:
                why = f"the file has {file.state.size} bytes; at most {_LARGEST} are read"
                return self._without_image(path, file, Finding("refused", detail=why))
            with path.open("rb") as opened:
                data = opened.read(_LARGEST)
                unchanged = state_of(os.fstat(opened.fileno())) == file.state
        except FileNotFoundError:  # the next look tells
            return None
        except OSError as error:
            file.why = f"cannot be read: {error.strerror or error}"
            file.again = time.monotonic() + _READ_AGAIN_S
            if not overdue:
                return None
            return self._without_image(path, file, Finding("no-picture", detail=f"the file {file.why}"))
        file.why = ""
        if not overdue and not (unchanged and is_whole(data)):
            file.incomplete = unchanged
            return None
        return Taken(data, path.name, path.stem, _origin(path, file.state, data))

    def _without_image(self, path: Path, file: _File, missing: Finding) -> Taken:
        return Taken(None, path.name, path.stem, _origin(path, file.state, b""), missing)

    def _move(self, path: Path, file: _File) -> bool:
        """Move or delete a file that is taken; whether it, as it was taken, is no longer there."""
        try:
            if state_of(path.stat()) != file.state:  # another has come in its place, which is not taken yet
                return True
            if self._config.then == "delete" and file.into == _TAKEN:
                path.unlink()
            else:
                folder = path.parent / file.into
                folder.mkdir(exist_ok=True)
                target = folder / path.name
                if target.exists():
                    target = folder / f"{path.stem}-{(file.origin or '')[:12]}{path.suffix}"
                path.rename(target)
        except FileNotFoundError:
            return True
        except OSError as error:
            file.why = f"is taken and cannot be moved: {error.strerror or error}"
            file.again = time.monotonic() + _MOVE_AGAIN_S
            return False
        return True

    async def _answered(self, work: Callable[[], T]) -> T:
        """Let the file system work on a thread, and say so when it does not answer: a share that is away may hang."""
        task = asyncio.ensure_future(asyncio.to_thread(work))
        while not (await asyncio.wait((task,), timeout=_PATIENCE_S))[0]:
            self._say(f"{self._config.path}: the file system does not answer")
        return task.result()

    def _note_ignored(self, ignored: Mapping[str, tuple[str, ...]]) -> None:
        for why, names in ignored.items():
            new = sorted(set(names).difference(self._ignored.get(why, ())))
            if new and why != HIDDEN:  # files that are written under a hidden name are usual
                log.info("%s: passed over, since %s: %s", self._config.path, why, _some(new))
        self._ignored = ignored

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            if trouble:
                log.warning("%s", trouble)
            else:
                log.info("%s: all is well again", self._config.path)
        self.trouble = trouble


def _origin(path: Path, state: State, data: bytes) -> str:
    name = os.fsencode(path.name)
    return hashlib.sha256(b"%b\0%d %d\0%b" % (name, state.modified_ns, state.size, data)).hexdigest()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return sanitize(", ".join(names[:_NAMED]) + more, 10_000)
