"""Which value of a file with 16 bits a channel is white: cameras put 10, 12 or 14 bits into such files."""

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
