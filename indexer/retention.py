"""Keeps the history of inspections within its bounds, and the disk from filling, in steps that delay nobody."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from indexer.catalogue import Amount, Bounds, Catalogue, Cut, Kind
from indexer.catalogue.retention import What
from indexer.data_folder import DataFolder
from indexer.store import StoreLock

HISTORY = "inspections"  # the folder of maps and thumbnails within the data folder

_ROWS = 100  # inspections in one transaction: others wait for it to end
_FILES = 200  # files struck out in one transaction
_LOCK_SECONDS = 0.025  # that files are deleted under one lock: what records waits for it to end, and disks differ
_LOOKED_AT = 500  # files compared with the catalogue at once
_ABANDONED = 100_000  # paths remembered: 10 MB
_PATIENCE = 1.0  # seconds in which the lock must be free at some moment; else it is left for the next time

_ALL = Bounds()


@dataclass(frozen=True)
class Policy:
    """What is kept of each category: its defects, and its other inspections; themselves, and their pictures and maps.

    An inspection that goes takes its picture, map and thumbnail with it. A thumbnail otherwise stays.
    """

    inspections: Bounds = _ALL
    pictures: Bounds = _ALL
    defects: Bounds = _ALL
    defect_pictures: Bounds = _ALL

    def bounds(self, what: What, *, defect: bool) -> Bounds:
        """Those of one kind."""
        if what == "inspections":
            return self.defects if defect else self.inspections
        return self.defect_pictures if defect else self.pictures


@dataclass(frozen=True)
class Step:
    """What one step took away. what: inspections, the pictures and maps of some, or files. why: a bound, or room.

    Files go after what they belonged to; `why` is None for them.
    """

    what: Literal["inspections", "pictures", "files"]
    why: Literal["bounds", "room"] | None
    amount: Amount


class Pruner:
    """Prunes one data folder. Any number of processes may do so at once.

    Its methods give steps, each a short transaction or some deleted files, to be taken one by one with pauses between
    them. They may raise CatalogueError, StorageFull and OSError; what was not taken then is taken the next time.
    """

    def __init__(self, folder: DataFolder, catalogue: Catalogue, policy: Policy, min_free_bytes: int) -> None:
        self._data = folder.root
        self._retention = catalogue.retention
        self._lock = folder.lock
        self._policy = policy
        self._min_free_bytes = min_free_bytes
        self._abandoned: deque[str] = deque(maxlen=_ABANDONED)

    def abandon(self, paths: Iterable[str]) -> None:
        """Have files (paths in the data folder) deleted that were written for a row that may not be there.

        Beyond the last 100,000 of them, and after the process has ended, they are left to `without_orphans`.
        """
        self._abandoned.extend(paths)

    def without_abandoned(self) -> Iterator[Step]:
        """Delete what was abandoned, unless something names it."""
        while self._abandoned:
            some = [self._abandoned.popleft() for _ in range(min(_FILES, len(self._abandoned)))]
            done, size = 0, 0
            try:
                done, size = self._delete_some(some)
            finally:
                self._abandoned.extend(some[done:])
            if not done:
                return
            yield Step("files", None, Amount(done, size))

    def cuts(self, kinds: Iterable[Kind]) -> Iterator[Cut]:
        """What is beyond the policy's bounds now."""
        now = datetime.now(UTC)
        for kind in kinds:
            for what in ("inspections", "pictures"):
                bounds = self._policy.bounds(what, defect=kind.defect)
                cut = self._retention.cut(kind, what, bounds, now)
                if cut is not None:
                    yield cut

    def within_bounds(self, kinds: Iterable[Kind]) -> Iterator[Step]:
        """Take away what is beyond the policy's bounds, oldest first, inspections before pictures."""
        yield from self._deleted()
        for cut in self.cuts(kinds):
            yield from self._taken(cut, "bounds")

    def room_wanted(self) -> int:
        """How many bytes of pictures have to go so that twice the least that must be free is free; 0 for none.

        Twice: the oldest pictures go before it comes to refusing new history.
        """
        free = shutil.disk_usage(self._data).free
        if free >= 2 * self._min_free_bytes:
            return 0
        return max(0, 2 * self._min_free_bytes - free - self._retention.pending().bytes)

    def with_room(self) -> Iterator[Step]:
        """While the disk is low, take away the oldest pictures of any category; never those of defects."""
        if shutil.disk_usage(self._data).free < 2 * self._min_free_bytes:
            yield from self._deleted()
            if wanted := self.room_wanted():
                for cut in self._retention.cuts_for(wanted):
                    yield from self._taken(cut, "room")

    def without_orphans(self) -> Iterator[Step]:
        """Delete pictures, maps and thumbnails that nothing names, as crashes and old references leave them."""
        files = itertools.chain(_files(self._data / "originals"), _files(self._data / HISTORY))
        while some := [str(path.relative_to(self._data)) for path in itertools.islice(files, _LOOKED_AT)]:
            waiting = sorted(set(some) - self._retention.named(some))
            gone, size = 0, 0
            while waiting:
                done, given_back = self._delete_some(waiting)
                gone, size, waiting = gone + done, size + given_back, waiting[done:]
                if not done:
                    break
            yield Step("files", None, Amount(gone, size))

    def _taken(self, cut: Cut, why: Literal["bounds", "room"]) -> Iterator[Step]:
        while (amount := self._retention.prune(cut, _ROWS)).count:
            yield Step(cut.what, why, amount)
            yield from self._deleted()

    def _deleted(self) -> Iterator[Step]:
        """Delete the files that are pending.

        A crash before they are struck out has them deleted again. If one of them is recorded and pruned anew just then,
        it is left to `without_orphans`.
        """
        while paths := self._retention.discarded(_FILES):
            waiting = list(paths)
            while waiting:
                done, size = self._delete_some(waiting)
                if not done:
                    break
                waiting = waiting[done:]
                yield Step("files", None, Amount(done, size))
            self._retention.forget(paths[: len(paths) - len(waiting)])
            if waiting:
                return  # somebody is recording all the time

    def _delete_some(self, paths: Sequence[str]) -> tuple[int, int]:
        """Delete the first of some files unless something needs them; returns how many were dealt with, and bytes."""
        done, size = 0, 0
        with _held(self._lock) as held:
            if held:
                named = self._retention.named(paths)
                end = time.monotonic() + _LOCK_SECONDS
                while done < len(paths) and (not done or time.monotonic() < end):
                    size += 0 if paths[done] in named else self._delete(paths[done])
                    done += 1
        return done, size

    def _delete(self, path: str) -> int:
        """Delete a file that may be gone already; returns how many bytes it had."""
        try:
            size = (self._data / path).stat().st_size
            (self._data / path).unlink()
        except FileNotFoundError:
            return 0
        return size


def _files(folder: Path) -> Iterator[Path]:
    """Every file in a folder and those below it, as they are found: one folder may hold a million."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                else:
                    yield Path(entry.path)


@contextmanager
def _held(lock: StoreLock) -> Iterator[bool]:
    """Try for a while to hold the lock alone, without keeping anyone waiting meanwhile."""
    end = time.monotonic() + _PATIENCE
    while True:
        with lock.sweeping() as held:
            if held or time.monotonic() > end:
                yield held
                return
        time.sleep(0.005)
