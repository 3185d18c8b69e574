"""Files of backups and exports in a bucket of S3, or of a server that speaks its protocol."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from indexer.jobs.checked_files import Content, FileFault, check_pieces, content_of, write_pieces
from indexer.s3 import S3Location, connect, failures_of

_PIECE = 8 << 20  # bytes read at once


class ObjectStore:
    """Below a location. S3 shows an object when all of it has arrived: an upload that was cut off leaves none."""

    def __init__(self, location: S3Location) -> None:
        self._location = location
        self._sizes: dict[str, int] | None = None  # of the files below `files/`, by path, as listed once
        self._fs = connect(location)

    def __str__(self) -> str:
        return str(self._location)

    def create(self) -> None:
        """See `BackupStore.create`: there are no folders, and the bucket was reached."""

    def names(self, folder: str) -> list[str]:
        """See `BackupStore.names`."""
        return [path.rpartition("/")[2] for path in self._listed(folder)]

    def save(self, source: Path, path: str, sha256: str | None) -> Content:
        """See `BackupStore.save`. The file is read twice: to check it, and to send it with checksums of its parts."""
        content = content_of(source)
        if sha256 is not None and content.sha256 != sha256:
            raise FileFault("damaged")
        self.send(source, path)
        return content

    def fetch(self, path: str, target: Path, sha256: str) -> Content:
        """See `BackupStore.fetch`."""
        return write_pieces(self._pieces(path), target, sha256)

    def check(self, path: str, sha256: str) -> None:
        """See `BackupStore.check`."""
        check_pieces(self._pieces(path), sha256)

    def check_size(self, path: str, size: int) -> None:
        """See `BackupStore.check_size`, as things were when the first file was looked at: a request for a thousand."""
        if self._sizes is None:
            self._sizes = self._listed("files", deep=True)
        if path not in self._sizes:
            raise FileFault("missing")
        if self._sizes[path] != size:
            raise FileFault("damaged")

    @contextmanager
    def reading(self, path: str) -> Iterator[BinaryIO]:
        """See `BackupStore.reading`."""
        with tempfile.TemporaryFile() as file:
            try:
                for piece in self._pieces(path):
                    file.write(piece)
            except FileFault as fault:
                raise FileNotFoundError(f"{self._location}/{path}: {fault}") from fault
            file.seek(0)
            yield file

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """See `BackupStore.writing`."""
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "file"
            with made.open("wb") as file:
                yield file
            self.send(made, path)

    def send(self, source: Path, path: str) -> None:
        """Save a file that has been checked."""
        with failures_of(self._location, OSError):
            self._fs.put_file(os.fspath(source), self._location.key(path))

    def _pieces(self, path: str) -> Iterator[bytes]:
        """What an object holds, piece by piece, then an empty piece. FileFault when there is none."""
        with failures_of(self._location, OSError):
            try:
                file = self._fs.open(self._location.key(path), "rb", block_size=_PIECE)
            except FileNotFoundError:
                raise FileFault("missing") from None
            with file:
                piece = b"."
                while piece:
                    piece = file.read(_PIECE)
                    yield piece

    def _listed(self, folder: str, *, deep: bool = False) -> dict[str, int]:
        """Bytes of each file in a folder, with deep=True also in folders below it, by path."""
        root = self._location.key("")
        with failures_of(self._location, OSError):
            objects = self._fs.find(self._location.key(folder), maxdepth=None if deep else 1, detail=True)
        return {name.removeprefix(f"{root}/"): entry["size"] for name, entry in objects.items()}
