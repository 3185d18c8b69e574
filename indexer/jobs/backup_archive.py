"""A store of backups: shared files, plus a list of files with the catalogue's rows for each backup."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from indexer.jobs.backup_store import BackupError, BackupStore, FolderStore
from indexer.jobs.object_store import ObjectStore
from indexer.s3 import S3Location

_FOLDERS = ("segments", "coresets", "originals", "inspections")  # of a data folder: what a backup may hold
_FILES = ".files.gz"  # ends the name of what is written last
_UNREADABLE = (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class SavedFile:
    """A file of a backup. path: within the data folder, and within the backups' files. sha256: hex."""

    path: str
    sha256: str
    bytes: int


class Archive:
    """One folder of backups, or one location in a bucket. Nothing in it is ever deleted. ObjectStorageError."""

    def __init__(self, location: Path | S3Location) -> None:
        self.store: BackupStore = FolderStore(location) if isinstance(location, Path) else ObjectStore(location)

    def names(self) -> list[str]:
        """Its finished backups, oldest first."""
        return sorted(name.removesuffix(_FILES) for name in self.store.names("catalogues") if name.endswith(_FILES))

    def choose(self, name: str | None) -> str:
        """The backup of that name, or the newest. BackupError when there is none."""
        names = self.names()
        if not names:
            raise BackupError(f"there is no backup in {self.store}")
        if name is not None and name not in names:
            raise BackupError(f"there is no backup {name!r}; there are {', '.join(names[-5:])}")
        return name or names[-1]

    def file(self, path: str) -> str:
        """Where a file lies in the store."""
        return f"files/{path}"

    def files_of(self, name: str) -> list[SavedFile]:
        """The files of a backup. BackupError when its list cannot be read."""
        try:
            return [_checked(SavedFile(**values)) for values in self._read(name, "files")]
        except (TypeError, ValueError) as error:
            raise self._unreadable(name, str(error)) from None

    def rows_of(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of a backup's catalogue, first what schema they have. BackupError, at the latest at the end."""
        rows = self._read(name, "rows")
        first = next(rows, None)
        if first is None or "schema" not in first:
            raise self._unreadable(name, "its rows are cut off")
        yield first
        for row in rows:
            if "table" not in row or not isinstance(row.get("row"), dict):
                raise self._unreadable(name, "a row is of no table")
            yield row

    def write_rows(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Begin a backup with the rows of its catalogue."""
        self._write(name, "rows", rows)

    def write_files(self, name: str, files: Iterable[SavedFile]) -> None:
        """Finish a backup: one without the list of its files is none."""
        self._write(name, "files", map(asdict, files))

    def _read(self, name: str, kind: str) -> Iterator[dict[str, Any]]:
        try:
            with (
                self.store.reading(f"catalogues/{name}.{kind}.gz") as raw,
                gzip.open(raw, "rt", encoding="utf-8") as file,
            ):
                for line in file:
                    yield json.loads(line)
        except _UNREADABLE as error:
            raise self._unreadable(name, str(error)) from None

    def _write(self, name: str, kind: str, lines: Iterable[dict[str, Any]]) -> None:
        # It holds the hashes of keys and what people said: for its owner only.
        with (
            self.store.writing(f"catalogues/{name}.{kind}.gz") as raw,
            gzip.open(raw, "wt", encoding="utf-8") as file,
        ):
            for line in lines:
                file.write(json.dumps(line) + "\n")

    def _unreadable(self, name: str, why: str) -> BackupError:
        return BackupError(f"backup {name} cannot be read: {why}")


def _checked(file: SavedFile) -> SavedFile:
    """A file that lies in one of the folders that a backup may hold. TypeError, ValueError."""
    parts = PurePosixPath(file.path).parts
    if len(parts) < 2 or parts[0] not in _FOLDERS or ".." in parts or "\0" in file.path:
        raise ValueError(f"it names {file.path!r}")
    if not re.fullmatch("[0-9a-f]{64}", file.sha256) or not isinstance(file.bytes, int):
        raise ValueError(f"it does not say what {file.path} holds")
    return file
