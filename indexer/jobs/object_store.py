"""Backups in a bucket of S3, or of a server that speaks its protocol."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from indexer.jobs.backup_store import BackupError
from indexer.jobs.checked_files import Content, FileFault, check_pieces, content_of, write_pieces

_PIECE = 8 << 20  # bytes read at once
_SCHEME = "s3://"


@dataclass(frozen=True)
class S3Location:
    """A bucket, and what the names of all objects begin with; the prefix may be empty."""

    bucket: str
    prefix: str

    @classmethod
    def from_url(cls, url: str) -> S3Location:
        """Of `s3://BUCKET/PREFIX`. BackupError."""
        bucket, _, prefix = url.removeprefix(_SCHEME).partition("/")
        if not url.startswith(_SCHEME) or not bucket:
            raise BackupError(f"{url} is no place for backups: give a folder or s3://BUCKET/PREFIX")
        return cls(bucket, prefix.strip("/"))

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}"

    def key(self, path: str) -> str:
        """How s3fs names an object."""
        return "/".join(part for part in (self.bucket, self.prefix, path) if part)


def location_of(text: str) -> Path | S3Location:
    """A folder, or what a URL names. BackupError."""
    return S3Location.from_url(text) if "://" in text else Path(text)


class ObjectStore:
    """Below a location. S3 shows an object when all of it has arrived, so that an upload that was cut off leaves none.

    Endpoint, region and credentials are those of every AWS program: variables `AWS_…`, `~/.aws`, the machine's role.
    """

    def __init__(self, location: S3Location) -> None:
        try:
            import s3fs
            from aiohttp import ClientError as TransferError
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise BackupError("s3:// needs s3fs: pip install 'touchstone[s3]'") from error
        self._location = location
        self._failures = (OSError, BotoCoreError, ClientError, TransferError)
        self._sizes: dict[str, int] | None = None  # of the files below `files/`, by path, as listed once
        self._fs: Any = s3fs.S3FileSystem(
            skip_instance_cache=True, use_listings_cache=False, config_kwargs={"connect_timeout": 10}
        )
        with self._reached():
            self._fs.call_s3("list_objects_v2", Bucket=location.bucket, Prefix=location.prefix, MaxKeys=1)

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
        self._send(source, path)
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
            self._send(made, path)

    def _send(self, source: Path, path: str) -> None:
        with self._reached():
            self._fs.put_file(os.fspath(source), self._location.key(path))

    def _pieces(self, path: str) -> Iterator[bytes]:
        """What an object holds, piece by piece, then an empty piece. FileFault when there is none."""
        with (
            self._reached(missing=FileFault("missing")),
            self._fs.open(self._location.key(path), "rb", block_size=_PIECE) as file,
        ):
            piece = b"."
            while piece:
                piece = file.read(_PIECE)
                yield piece

    def _listed(self, folder: str, *, deep: bool = False) -> dict[str, int]:
        """Bytes of each file in a folder, with deep=True also in folders below it, by path."""
        root = self._location.key("")
        with self._reached():
            objects = self._fs.find(self._location.key(folder), maxdepth=None if deep else 1, detail=True)
        return {name.removeprefix(f"{root}/"): entry["size"] for name, entry in objects.items()}

    @contextmanager
    def _reached(self, missing: Exception | None = None) -> Iterator[None]:
        """Raise BackupError where the server cannot be reached or refuses; `missing` where it has no such object."""
        try:
            yield
        except self._failures as error:
            if missing is not None and isinstance(error, FileNotFoundError):
                raise missing from error
            raise BackupError(f"{self._location}: {error}") from error
