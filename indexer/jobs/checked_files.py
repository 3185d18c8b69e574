"""Copies or checks files by their checksum."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer.imaging.decode import ImageLimits, ImageRejected, decode_image
from indexer.storage.durable import sync_folder

_PIECE = 4 << 20
_ANY_SIZE = ImageLimits(min_side=1)  # of thumbnails, which are as narrow as their images


class FileFault(Exception):
    """A file that cannot be used; the message is a word or two."""


@dataclass(frozen=True)
class Content:
    """What a file holds. sha256: hex."""

    sha256: str
    bytes: int


def copy(source: Path, target: Path, sha256: str | None) -> Content:
    """Copy a file durably. sha256: what it must have; None if that is not known.

    FileFault when the source is missing, unreadable or has another checksum, and OSError when the copy cannot be
    written. Either leaves the target as it was: it may be a good copy, which nothing that is not replaces.
    """
    return write_pieces(pieces_of(source), target, sha256)


def write_pieces(pieces: Iterator[bytes], target: Path, sha256: str | None) -> Content:
    """Write a file durably, as `copy` does. pieces: as of `pieces_of`."""
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")  # another process may write the same file
    first = next(pieces)  # before a folder is made for it
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with temporary.open("wb") as file:
            piece = first
            while piece:
                digest.update(piece)
                size += file.write(piece)
                piece = next(pieces)
            file.flush()
            os.fsync(file.fileno())
        if sha256 is not None and digest.hexdigest() != sha256:
            raise FileFault("damaged")
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return Content(digest.hexdigest(), size)


def check(path: Path, sha256: str | None) -> None:
    """Read a whole file. FileFault unless it has its checksum or, if that is not known, is a whole image."""
    if sha256 is not None:
        check_pieces(pieces_of(path), sha256)
        return
    try:
        decode_image(path, _ANY_SIZE)
    except ImageRejected:
        raise FileFault("damaged") from None
    except OSError as error:
        raise _fault(error) from None


def check_pieces(pieces: Iterable[bytes], sha256: str) -> None:
    """FileFault unless the pieces of a file have its checksum."""
    if _content(pieces).sha256 != sha256:
        raise FileFault("damaged")


def content_of(path: Path) -> Content:
    """What a file holds, which is read. FileFault."""
    return _content(pieces_of(path))


def check_size(path: Path, size: int) -> None:
    """FileFault unless the file is there and has so many bytes."""
    try:
        if path.stat().st_size != size:
            raise FileFault("damaged")
    except OSError as error:
        raise _fault(error) from None


def _content(pieces: Iterable[bytes]) -> Content:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return Content(digest.hexdigest(), size)


def pieces_of(path: Path) -> Iterator[bytes]:
    """What a file holds, piece by piece, then an empty piece. FileFault."""
    try:
        with path.open("rb") as file:
            piece = b"."
            while piece:
                piece = file.read(_PIECE)
                yield piece
    except OSError as error:
        raise _fault(error) from None


def _fault(error: OSError) -> FileFault:
    missing = isinstance(error, FileNotFoundError)
    return FileFault("missing" if missing else f"cannot be read: {error.strerror}")
