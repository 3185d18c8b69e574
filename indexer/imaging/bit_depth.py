"""Scales the values of a 16-bit channel, of which a camera uses 10 to 16 bits, to bytes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from indexer.domain.bit_depth import BIT_DEPTHS, BitDepth, white_value


def to_bytes(values: NDArray[np.uint16], depth: BitDepth) -> NDArray[np.uint8]:
    """Values of 0 … 2^depth − 1 → 0 … 255, rounded; of the same shape. Larger ones are white."""
    return _table(depth)[values]


@lru_cache(maxsize=len(BIT_DEPTHS))
def _table(depth: BitDepth) -> NDArray[np.uint8]:
    white = white_value(depth)
    values = np.minimum(np.arange(1 << 16), white)
    table: NDArray[np.uint8] = ((values * 510 + white) // (2 * white)).astype(np.uint8)
    return table
