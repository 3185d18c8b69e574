"""Where backups lie: a folder of this machine or, in `object_store.py`, a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from indexer.jobs.checked_files import Content, check, check_size, copy
from indexer.storage.durable import sync_folder


class BackupError(Exception):
    """What cannot be backed up, verified or restored; the message is one line for a person."""


class BackupStore(Protocol):
    """Files by their path, each of which is there whole or not at all. ObjectStorageError when a bucket fails."""

    def create(self) -> None:
        """Make what is missing before files can be saved."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the files that lie directly in a folder; none when there is no such folder."""
        ...

    def save(self, source: Path, path: str, sha256: str | None) -> Content:
        """Save a file of this machine durably. sha256: what it must have; None if that is not known.

        FileFault when the source is missing, unreadable or has another checksum; what was saved before stays then.
        """
        ...

    def fetch(self, path: str, target: Path, sha256: str) -> Content:
        """The inverse of `save`. FileFault and OSError leave the target as it was."""
        ...

    def check(self, path: str, sha256: str) -> None:
        """Read a whole file. FileFault unless it has its checksum."""
        ...

    def check_size(self, path: str, size: int) -> None:
        """FileFault unless the file is there and has so many bytes."""
        ...

    def reading(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to read while the block runs. OSError."""
        ...

    def writing(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to write, which is there, and durable, when the block has ended well."""
        ...


class FolderStore:
    """In a folder of this machine, for its owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def create(self) -> None:
        """See `BackupStore.create`."""
        for folder in (self._root / "files", self._root / "catalogues"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def names(self, folder: str) -> list[str]:
        """See `BackupStore.names`."""
        return [path.name for path in (self._root / folder).glob("*")]

    def save(self, source: Path, path: str, sha256: str | None) -> Content:
        """See `BackupStore.save`."""
        return copy(source, self._root / path, sha256)

    def fetch(self, path: str, target: Path, sha256: str) -> Content:
        """See `BackupStore.fetch`."""
        return copy(self._root / path, target, sha256)

    def check(self, path: str, sha256: str) -> None:
        """See `BackupStore.check`."""
        check(self._root / path, sha256)

    def check_size(self, path: str, size: int) -> None:
        """See `BackupStore.check_size`."""
        check_size(self._root / path, size)

    def reading(self, path: str) -> AbstractContextManager[BinaryIO]:
        """See `BackupStore.reading`."""
        return (self._root / path).open("rb")

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """See `BackupStore.writing`."""
        target = self._root / path
        temporary = target.with_name(f"{target.name}.tmp")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
