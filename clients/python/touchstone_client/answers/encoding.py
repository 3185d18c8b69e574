"""How images were stored and read, and what people should know of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BitDepth = Literal[10, 12, 14, 16]


@dataclass(frozen=True)
class Notice:
    """Something to know of how an image was read. kind: for programs; a newer service may have others. detail: says it.

    Kinds: `narrow_range`, `bit_depth_inferred`, `stored_differently`, `read_as_references`, `other_size`,
    `border_not_inspected`.
    """

    kind: str
    detail: str


@dataclass(frozen=True)
class Encoding:
    """How an image was stored, and what was made of that when it was read.

    bits: a channel. quality, subsampling: of a JPEG. bit_depth: of 16 bits, as many as were taken for used. read_as:
    what it was stored as in between, to be compared with references that were.
    """

    format: str
    lossy: bool
    bits: int
    quality: int | None = None
    subsampling: str | None = None
    bit_depth: BitDepth | None = None
    read_as: str | None = None
