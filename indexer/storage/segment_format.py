"""The binary format of a segment file: header, descriptors, codes."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from io import FileIO

import numpy as np
from numpy.typing import NDArray

from indexer.domain.errors import CorruptSegmentError

MAGIC = b"TOUCHSEG"

FORMAT = 2  # 1 had no rows and columns, but cells of a square grid

PREFIX = struct.Struct("<8sII")  # magic, format version, bytes of the JSON header

_MAX_HEADER = 64 * 1024

CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True)
class SegmentHeader:
    """What the arrays of a segment mean: the feature space's fingerprint, the codec, and their shapes."""

    fingerprint: str
    codec: str
    layers: int
    rows: int
    columns: int
    code_size: int
    global_dim: int
    count: int

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of the cells."""
        return self.rows, self.columns

    @property
    def cells(self) -> int:
        """Cells of a reference."""
        return self.rows * self.columns

    @property
    def payload_bytes(self) -> int:
        """Bytes of both arrays."""
        return self.count * (4 * self.global_dim + self.layers * self.cells * self.code_size)


def read_header(file: FileIO, name: str, seen: Callable[[memoryview], object]) -> SegmentHeader:
    prefix = bytearray(PREFIX.size)
    read_into(memoryview(prefix), file, name, seen)
    magic, version, length = PREFIX.unpack(prefix)
    if magic != MAGIC or version not in (1, FORMAT) or length > _MAX_HEADER:
        raise CorruptSegmentError(name, "bad header")
    described = bytearray(length)
    read_into(memoryview(described), file, name, seen)
    header = _parse_header(bytes(described), version)
    if header is None:
        raise CorruptSegmentError(name, "bad header")
    remaining = os.fstat(file.fileno()).st_size - PREFIX.size - length
    if remaining < header.payload_bytes:
        raise CorruptSegmentError(name, "truncated")
    if remaining > header.payload_bytes:
        raise CorruptSegmentError(name, "bad header")
    return header


def _parse_header(described: bytes, version: int) -> SegmentHeader | None:
    try:
        values = json.loads(described)
    except ValueError:
        return None
    if version == 1 and isinstance(values, dict) and type(cells := values.pop("cells", None)) is int and cells >= 0:
        values["rows"] = values["columns"] = math.isqrt(cells)
        if values["rows"] ** 2 != cells:
            return None
    kinds = {field.name: str if field.type == "str" else int for field in fields(SegmentHeader)}
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        return None
    for key, kind in kinds.items():
        if type(values[key]) is not kind or (kind is int and values[key] < 0):
            return None
    return SegmentHeader(**values)


def read_into(view: memoryview, file: FileIO, name: str, seen: Callable[[memoryview], object]) -> None:
    done = 0
    while done < len(view):
        count = file.readinto(view[done : done + CHUNK])
        if not count:
            raise CorruptSegmentError(name, "truncated")
        seen(view[done : done + count])
        done += count


def bytes_of(array: NDArray[np.generic]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
