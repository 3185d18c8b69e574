"""A file lock: shared for writers, exclusive for the deletion of orphans."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.storage.durable import make_folder, translate_full_disk


class StoreLock:
    """Keeps a sweep from taking files that a process is about to commit.

    Whoever adds files holds the lock shared from before the first write until after the SQL commit; a sweep needs it
    exclusively. The kernel releases it when a process dies, so a crash never leaves it held.
    """

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._path = path

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock shared; waits while a sweep runs."""
        with self._opened() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Try to hold the lock exclusively, without waiting; yields whether it is held."""
        with self._opened() as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with translate_full_disk():
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
