"""Deletes files that the catalogue does not refer to, in short steps."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from indexer.domain.errors import CatalogueError
from indexer.storage.lock import StoreLock

Names = Callable[[Sequence[str]], Collection[str]]  # those of some files, paths in the folder, that are named

_SECONDS = 0.025  # that files are deleted under one lock; disks differ in how many that is
_FILES = 100  # compared under one lock
_LISTED = 500  # compared with no lock
_PATIENCE = 1.0  # seconds in which the lock must be free at some moment; else it is left for the next time
_PAUSE = 0.005


@dataclass(frozen=True)
class DeletionStep:
    """What one step dealt with: so many files, of which so many were there and were deleted, of so many bytes.

    failed: a line for each that cannot be deleted, and for each folder that cannot be listed.
    """

    files: int
    deleted: int = 0
    bytes: int = 0
    failed: tuple[str, ...] = ()


class OrphanDeleter:
    """Deletes files of one folder unless they are named. Any number of processes may do so at once.

    named: may miss what is being committed; it only spares work. needed: misses nothing that is committed, or may be
    yet, when it is called while nobody holds the lock. Whatever these raise ends a sweep; what was not deleted then is
    deleted another time.
    """

    def __init__(self, root: Path, lock: StoreLock, named: Names, needed: Names) -> None:
        self._root = root
        self._lock = lock
        self._named = named
        self._needed = needed

    def orphans(self, *folders: str) -> Iterator[DeletionStep]:
        """Go through folders and those below them, and delete each file that is not needed, step by step."""
        failed: list[str] = []
        files = itertools.chain.from_iterable(_files(self._root / folder, failed) for folder in folders)
        while listed := [str(path.relative_to(self._root)) for path in itertools.islice(files, _LISTED)]:
            orphans = sorted(set(listed).difference(self._named(listed)))
            yield DeletionStep(len(listed) - len(orphans), failed=tuple(failed))
            failed.clear()
            yield from self.delete(orphans)
        if failed:
            yield DeletionStep(0, failed=tuple(failed))

    def delete(self, paths: Sequence[str]) -> Iterator[DeletionStep]:
        """Delete those of some files (paths in the folder) that are not needed, in order, step by step.

        It ends early while files are added continuously; the steps are then of fewer files.
        """
        done = 0
        while done < len(paths):
            step = self._step(paths[done : done + _FILES])
            if not step.files:
                return
            done += step.files
            yield step

    def delete_if_possible(self, paths: Sequence[str]) -> None:
        """Delete those of some files that are not needed; what fails is left to `orphans`."""
        with suppress(CatalogueError, OSError):
            for _ in self.delete(paths):
                pass

    def _step(self, paths: Sequence[str]) -> DeletionStep:
        files, deleted, size = 0, 0, 0
        failed: list[str] = []
        with _locked_alone(self._lock) as acquired:
            if acquired:
                needed = self._needed(paths)
                end = time.monotonic() + _SECONDS
                while files < len(paths) and (not files or time.monotonic() < end):
                    path = paths[files]
                    files += 1
                    if path in needed:
                        continue
                    try:
                        file_bytes = (self._root / path).stat().st_size
                        (self._root / path).unlink()
                        deleted, size = deleted + 1, size + file_bytes
                    except FileNotFoundError:
                        pass
                    except OSError as error:
                        failed.append(f"{path} cannot be deleted: {error.strerror}")
        return DeletionStep(files, deleted, size, tuple(failed))


def _files(folder: Path, failed: list[str]) -> Iterator[Path]:
    """Every file in a folder and those below it, as they are found: one folder may hold a million."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path), failed)
                else:
                    yield Path(entry.path)
    except FileNotFoundError:
        pass
    except OSError as error:
        failed.append(f"{folder} cannot be listed: {error.strerror}")


@contextmanager
def _locked_alone(lock: StoreLock) -> Iterator[bool]:
    """Try for a while to hold the lock alone, without keeping anyone waiting meanwhile."""
    end = time.monotonic() + _PATIENCE
    while True:
        with lock.exclusive() as acquired:
            if acquired or time.monotonic() > end:
                yield acquired
                return
        time.sleep(_PAUSE)
