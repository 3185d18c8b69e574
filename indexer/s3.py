"""Reaches S3, or a server that speaks its protocol. The client is an extra, and imported when a URL is given.

Endpoint, region and credentials are those of every AWS program: variables `AWS_…`, `~/.aws`, the machine's role.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from indexer.domain.errors import ObjectStorageError

_SCHEME = "s3://"


@dataclass(frozen=True)
class S3Location:
    """A bucket, and what the names of all objects begin with; the prefix may be empty."""

    bucket: str
    prefix: str

    @classmethod
    def from_url(cls, url: str) -> S3Location:
        """Of `s3://BUCKET/PREFIX`. ObjectStorageError."""
        bucket, _, prefix = url.removeprefix(_SCHEME).partition("/")
        if not url.startswith(_SCHEME) or not bucket:
            raise ObjectStorageError(f"{url} cannot be used: give a folder or s3://BUCKET/PREFIX")
        return cls(bucket, prefix.strip("/"))

    def __str__(self) -> str:
        return f"{_SCHEME}{self.bucket}/{self.prefix}"

    def key(self, path: str) -> str:
        """How s3fs names an object."""
        return "/".join(part for part in (self.bucket, self.prefix, path) if part)


def location_of(text: str) -> Path | S3Location:
    """A folder, or what a URL names. ObjectStorageError; also for an empty text, which is not the current folder."""
    if not text:
        raise ObjectStorageError("the name of the folder is empty: give a folder or s3://BUCKET/PREFIX")
    return S3Location.from_url(text) if "://" in text else Path(text)


def connect(location: S3Location) -> Any:
    """An `s3fs.S3FileSystem` that has reached the bucket. ObjectStorageError."""
    try:
        import s3fs
    except ImportError as error:
        raise ObjectStorageError("s3:// needs s3fs: pip install 'touchstone[s3]'") from error
    file_system = s3fs.S3FileSystem(
        skip_instance_cache=True, use_listings_cache=False, config_kwargs={"connect_timeout": 10}
    )
    with failures_of(location, OSError):
        file_system.call_s3("list_objects_v2", Bucket=location.bucket, Prefix=location.prefix, MaxKeys=1)
    return file_system


@contextmanager
def failures_of(location: S3Location, *more: type[Exception]) -> Iterator[None]:
    """Raise ObjectStorageError where the server cannot be reached, and for `more`: what it refuses is an OSError."""
    from aiohttp import ClientError as TransferError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, TransferError, *more) as error:
        raise ObjectStorageError(f"{location}: {error}") from error


@contextmanager
def folder_to_read(text: str) -> Iterator[Path]:
    """A folder, or what a URL names as one, which is read like any other while the block runs. ObjectStorageError."""
    location = location_of(text)
    if isinstance(location, Path):
        yield location
        return
    connect(location)
    from upath import UPath

    root = UPath(str(location))
    root.fs.invalidate_cache()  # of folders that this process has listed before
    with failures_of(location):
        yield cast(Path, root)  # it has all of a path that reading takes
