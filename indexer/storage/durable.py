"""Atomic, durable writes of files; durable creation of folders."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from indexer.domain.errors import StorageFull

_TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def durable_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that becomes `path` when the block ends well, and leaves nothing when it does not."""
    temporary = _temporary(path)
    with translate_full_disk():
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_durably(files: Mapping[Path, bytes]) -> None:
    """Write files of folders that exist; each appears under its name only whole, and is durable on return.

    Raises StorageFull when there is no room: then some may be there, and nothing unfinished is left.
    """
    temporaries = {path: _temporary(path) for path in files}
    with translate_full_disk():
        try:
            for path, data in files.items():
                with temporaries[path].open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            for path, temporary in temporaries.items():
                temporary.replace(path)
            for folder in {path.parent for path in files}:
                sync_folder(folder)
        finally:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{_TEMPORARY_SUFFIX}")


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents so that they survive a crash."""
    if path.is_dir():
        return
    with translate_full_disk():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_full_disk() -> Iterator[None]:
    try:
        yield
    except StorageFull:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(error.errno, "no space left on the data folder's disk") from error
        raise
