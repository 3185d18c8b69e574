"""Which value of a file with 16 bits a channel is white: cameras put 10, 12 or 14 bits into such files."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

BitDepth = Literal[10, 12, 14, 16]
BIT_DEPTHS: tuple[BitDepth, ...] = get_args(BitDepth)
FULL: BitDepth = 16
_DARK = 4  # an image whose largest value is no more than white over this could be one of two bits less


def depth_of(largest: int) -> BitDepth:
    """The smallest usual depth that holds every value of some images; `largest`: the largest value of them all.

    Values that are shifted to the upper bits (Mono12 in multiples of 16) are as large as those of 16 bits, and read
    so, since white is at the top then.
    """
    return next(depth for depth in BIT_DEPTHS if largest <= _white(depth))


def is_narrow(largest: int, depth: BitDepth) -> bool:
    """Whether an image uses a quarter of its range at most, so that it may be of fewer bits than it is read as."""
    return largest <= _white(depth) // _DARK


def holds(largest: int, depth: BitDepth) -> bool:
    """Whether no value is beyond white."""
    return largest <= _white(depth)


def to_bytes(values: NDArray[np.uint16], depth: BitDepth) -> NDArray[np.uint8]:
    """Values of 0 … 2^depth − 1 → 0 … 255, rounded; of the same shape. Larger ones are white."""
    return _table(depth)[values]


def _white(depth: BitDepth) -> int:
    return (1 << depth) - 1


@lru_cache(maxsize=len(BIT_DEPTHS))
def _table(depth: BitDepth) -> NDArray[np.uint8]:
    white = _white(depth)
    values = np.minimum(np.arange(1 << 16), white)
    table: NDArray[np.uint8] = ((values * 510 + white) // (2 * white)).astype(np.uint8)
    return table
