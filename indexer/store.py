"""Files that survive a crash: segments of encoded references, the original images they came from."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from indexer.domain.errors import CorruptSegmentError, OriginalUnreadable, StorageFull
from indexer.domain.snapshot import SegmentFile
from indexer.domain.stored_file import original_name

_MAGIC = b"TOUCHSEG"
_FORMAT = 1
_PREFIX = struct.Struct("<8sII")  # magic, format version, bytes of the JSON header
_LARGEST_HEADER = 64 * 1024
_PIECE = 4 * 1024 * 1024
_SEGMENT_SUFFIX = ".segment"
_TEMPORARY_SUFFIX = ".tmp"


@dataclass(frozen=True)
class SegmentHeader:
    """What the arrays of a segment mean: the feature space's fingerprint, the codec, and their shapes."""

    fingerprint: str
    codec: str
    layers: int
    cells: int
    code_size: int
    global_dim: int
    count: int

    @property
    def payload_bytes(self) -> int:
        """Bytes of both arrays."""
        return self.count * (4 * self.global_dim + self.layers * self.cells * self.code_size)


@dataclass(frozen=True)
class Segment:
    """A verified segment.

    global_descriptors: float32 (count, global_dim). codes: uint8 (count, layers, cells, code_size).
    """

    header: SegmentHeader
    global_descriptors: NDArray[np.float32]
    codes: NDArray[np.uint8]


class StoreLock:
    """Keeps a sweep from taking files that a process is about to commit.

    Whoever adds files holds the lock shared from before the first write until after the SQL commit; a sweep needs it
    exclusively. The kernel releases it when a process dies, so a crash never leaves it held.
    """

    def __init__(self, path: Path) -> None:
        _make_folder(path.parent)
        self._path = path

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Hold the lock shared; waits while a sweep runs."""
        with self._opened() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield

    @contextmanager
    def sweeping(self) -> Iterator[bool]:
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
        with _full_disk_named():
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class SegmentStore:
    """The folder of segment files; SQL says which of them exist and what their checksums are.

    File format, little endian: 8 bytes magic, uint32 format version, uint32 header length, the header as JSON,
    global_descriptors as float32 (count, global_dim), codes as uint8 (count, layers, cells, code_size).
    """

    def __init__(self, root: Path, lock: StoreLock) -> None:
        _make_folder(root)
        self._root = root
        self._lock = lock

    def write(
        self, global_descriptors: NDArray[np.float32], codes: NDArray[np.uint8], header: SegmentHeader
    ) -> SegmentFile:
        """Store both arrays durably under a new name. Call it inside `StoreLock.appending()`.

        Raises ValueError when the arrays are not what the header says, StorageFull when there is no room.
        """
        if global_descriptors.shape != (header.count, header.global_dim):
            raise ValueError(f"globals of shape {global_descriptors.shape} do not match {header}")
        if codes.shape != (header.count, header.layers, header.cells, header.code_size) or codes.dtype != np.uint8:
            raise ValueError(f"codes {codes.dtype} of shape {codes.shape} do not match {header}")
        described = json.dumps(asdict(header), sort_keys=True).encode()
        name = uuid.uuid4().hex + _SEGMENT_SUFFIX
        digest = hashlib.sha256()
        with _durable_file(self._root / name) as file:
            for part in (
                memoryview(_PREFIX.pack(_MAGIC, _FORMAT, len(described)) + described),
                _bytes_of(np.ascontiguousarray(global_descriptors, dtype="<f4")),
                _bytes_of(np.ascontiguousarray(codes)),
            ):
                for start in range(0, len(part), _PIECE):
                    piece = part[start : start + _PIECE]
                    digest.update(piece)
                    file.write(piece)
        size = _PREFIX.size + len(described) + header.payload_bytes
        return SegmentFile(name, digest.hexdigest(), size, header.count)

    def read(self, name: str, sha256: str) -> Segment:
        """Read a segment, verifying it on the way. Raises CorruptSegmentError."""
        digest = hashlib.sha256()
        try:
            file = (self._root / name).open("rb", buffering=0)
        except FileNotFoundError:
            raise CorruptSegmentError(name, "missing") from None
        with file:
            header = _read_header(file, name, digest.update)
            global_descriptors = np.empty((header.count, header.global_dim), dtype="<f4")
            codes = np.empty((header.count, header.layers, header.cells, header.code_size), dtype=np.uint8)
            for array in (global_descriptors, codes):
                _read_into(_bytes_of(array), file, name, digest.update)
        if digest.hexdigest() != sha256:
            raise CorruptSegmentError(name, "checksum")
        return Segment(header, global_descriptors.astype(np.float32, copy=False), codes)

    def remove(self, name: str) -> None:
        """Delete one segment file that nothing refers to any more; one that is gone already is fine."""
        (self._root / name).unlink(missing_ok=True)


class OriginalStore:
    """The uploaded images as they came, by the sha256 of their bytes: `ab/cd/<sha256>.<suffix>`."""

    def __init__(self, root: Path, lock: StoreLock) -> None:
        _make_folder(root)
        self._root = root
        self._lock = lock

    def path(self, sha256: str, suffix: str) -> Path:
        """Where an original lies. suffix: with its dot, such as `.png`. ValueError for what is no digest or suffix."""
        return self._root / original_name(sha256, suffix)

    def write(self, data: bytes, suffix: str) -> str:
        """Keep these bytes durably and return their sha256. Call it inside `StoreLock.appending()`.

        Raises StorageFull when there is no room.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256, suffix)
        _make_folder(path.parent)
        if path.is_file() and path.stat().st_size == len(data):
            sync_folder(path.parent)  # whoever wrote it may not have come this far yet
            return sha256
        write_durably({path: data})
        return sha256

    def read(self, sha256: str, suffix: str) -> bytes:
        """The bytes of an original. Raises OriginalUnreadable."""
        try:
            data = self.path(sha256, suffix).read_bytes()
        except FileNotFoundError:
            raise OriginalUnreadable(sha256, "missing") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise OriginalUnreadable(sha256, "checksum")
        return data


def _read_header(file: FileIO, name: str, seen: Callable[[memoryview], object]) -> SegmentHeader:
    prefix = bytearray(_PREFIX.size)
    _read_into(memoryview(prefix), file, name, seen)
    magic, version, length = _PREFIX.unpack(prefix)
    if magic != _MAGIC or version != _FORMAT or length > _LARGEST_HEADER:
        raise CorruptSegmentError(name, "bad header")
    described = bytearray(length)
    _read_into(memoryview(described), file, name, seen)
    header = _parse_header(bytes(described))
    if header is None:
        raise CorruptSegmentError(name, "bad header")
    remaining = os.fstat(file.fileno()).st_size - _PREFIX.size - length
    if remaining < header.payload_bytes:
        raise CorruptSegmentError(name, "truncated")
    if remaining > header.payload_bytes:
        raise CorruptSegmentError(name, "bad header")
    return header


def _parse_header(described: bytes) -> SegmentHeader | None:
    try:
        values = json.loads(described)
    except ValueError:
        return None
    kinds = {field.name: str if field.type == "str" else int for field in fields(SegmentHeader)}
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        return None
    for key, kind in kinds.items():
        if type(values[key]) is not kind or (kind is int and values[key] < 0):
            return None
    return SegmentHeader(**values)


def _read_into(view: memoryview, file: FileIO, name: str, seen: Callable[[memoryview], object]) -> None:
    done = 0
    while done < len(view):
        count = file.readinto(view[done : done + _PIECE])
        if not count:
            raise CorruptSegmentError(name, "truncated")
        seen(view[done : done + count])
        done += count


def _bytes_of(array: NDArray[np.generic]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


@contextmanager
def _durable_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that becomes `path` when the block ends well, and leaves nothing when it does not."""
    temporary = _temporary(path)
    with _full_disk_named():
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
    with _full_disk_named():
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


def _make_folder(path: Path) -> None:
    """Create a folder and its missing parents so that they survive a crash."""
    if path.is_dir():
        return
    with _full_disk_named():
        _make_folder(path.parent)
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
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except StorageFull:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(error.errno, "no room left on the disk that holds the data folder") from error
        raise
