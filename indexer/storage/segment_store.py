"""The folder of segment files: write, read with verification, map."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.domain.errors import CorruptSegmentError
from indexer.domain.snapshot import SegmentFile
from indexer.storage.durable import durable_write, make_folder
from indexer.storage.lock import StoreLock
from indexer.storage.segment_format import CHUNK, FORMAT, MAGIC, PREFIX, SegmentHeader, bytes_of, read_header, read_into

_SUFFIX = ".segment"


@dataclass(frozen=True)
class Segment:
    """A segment's content.

    global_descriptors: float32 (count, global_dim). codes: uint8 (count, layers, cells, code_size).
    """

    header: SegmentHeader
    global_descriptors: NDArray[np.float32]
    codes: NDArray[np.uint8]


class SegmentStore:
    """The folder of segment files; SQL says which of them exist and what their checksums are.

    File format, little endian: 8 bytes magic, uint32 format version, uint32 header length, the header as JSON,
    global_descriptors as float32 (count, global_dim), codes as uint8 (count, layers, cells, code_size).
    """

    def __init__(self, root: Path, lock: StoreLock) -> None:
        make_folder(root)
        self._root = root
        self._lock = lock

    def write(
        self, global_descriptors: NDArray[np.float32], codes: NDArray[np.uint8], header: SegmentHeader
    ) -> SegmentFile:
        """Store both arrays durably under a new name. Call it inside `StoreLock.shared()`.

        Raises ValueError when the arrays are not what the header says, StorageFull when there is no room.
        """
        if global_descriptors.shape != (header.count, header.global_dim):
            raise ValueError(f"globals of shape {global_descriptors.shape} do not match {header}")
        if codes.shape != (header.count, header.layers, header.cells, header.code_size) or codes.dtype != np.uint8:
            raise ValueError(f"codes {codes.dtype} of shape {codes.shape} do not match {header}")
        described = json.dumps(asdict(header), sort_keys=True).encode()
        name = uuid.uuid4().hex + _SUFFIX
        digest = hashlib.sha256()
        with durable_write(self._root / name) as file:
            for part in (
                memoryview(PREFIX.pack(MAGIC, FORMAT, len(described)) + described),
                bytes_of(np.ascontiguousarray(global_descriptors, dtype="<f4")),
                bytes_of(np.ascontiguousarray(codes)),
            ):
                for start in range(0, len(part), CHUNK):
                    piece = part[start : start + CHUNK]
                    digest.update(piece)
                    file.write(piece)
        size = PREFIX.size + len(described) + header.payload_bytes
        return SegmentFile(name, digest.hexdigest(), size, header.count)

    def read(self, name: str, sha256: str) -> Segment:
        """Read a segment, verifying it on the way. Raises CorruptSegmentError."""
        digest = hashlib.sha256()
        with self._opened(name) as file:
            header = read_header(file, name, digest.update)
            global_descriptors = np.empty((header.count, header.global_dim), dtype="<f4")
            codes = np.empty((header.count, header.layers, header.cells, header.code_size), dtype=np.uint8)
            for array in (global_descriptors, codes):
                read_into(bytes_of(array), file, name, digest.update)
        if digest.hexdigest() != sha256:
            raise CorruptSegmentError(name, "checksum")
        return Segment(header, global_descriptors.astype(np.float32, copy=False), codes)

    def map(self, name: str) -> Segment:
        """A segment whose codes are mapped: the system reads them as they are used.

        Its header and its size are checked, its content is not: see `verify`. The codes stay readable if the file is
        deleted; the process ends (SIGBUS) if the disk cannot read them when they are used. Raises CorruptSegmentError,
        and OSError when the system cannot map it.
        """
        import torch  # seconds, which commands that only read files do without

        with self._opened(name) as file:
            header = read_header(file, name, _unseen)
            global_descriptors = np.empty((header.count, header.global_dim), dtype="<f4")
            read_into(bytes_of(global_descriptors), file, name, _unseen)
            start = file.tell()
            size = header.payload_bytes - global_descriptors.nbytes
            try:  # unlike numpy's, torch's mapping keeps no file open, of which a process may have few
                mapped = torch.from_file(str(self._root / name), shared=False, size=start + size, dtype=torch.uint8)
            except RuntimeError as error:
                raise OSError(f"segment {name} cannot be mapped: {error}") from error
        codes = mapped[start:].view(header.count, header.layers, header.cells, header.code_size).numpy()
        return Segment(header, global_descriptors.astype(np.float32, copy=False), codes)

    def verify(self, name: str, sha256: str, pause: Callable[[], object] = lambda: None) -> None:
        """Read a whole segment for its checksum. pause: called after every few MB. Raises CorruptSegmentError."""
        digest = hashlib.sha256()
        chunk = memoryview(bytearray(CHUNK))
        with self._opened(name) as file:
            while count := file.readinto(chunk):
                digest.update(chunk[:count])
                pause()
        if digest.hexdigest() != sha256:
            raise CorruptSegmentError(name, "checksum")

    def grid_of(self, name: str) -> tuple[int, int]:
        """(rows, columns) of the cells of a segment, whose content is not verified. Raises CorruptSegmentError."""
        with self._opened(name) as file:
            return read_header(file, name, _unseen).grid

    def _opened(self, name: str) -> FileIO:
        try:
            return (self._root / name).open("rb", buffering=0)
        except FileNotFoundError:
            raise CorruptSegmentError(name, "missing") from None


def _unseen(_: memoryview) -> None:
    """For bytes that go into no checksum."""
