"""Where patch codes lie in memory: blocks that grow at the end while searches read what is already there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_FIRST_BLOCK = 16  # references
_LARGEST_BLOCK = 1024


class Arena:
    """Append-only storage of codes, one contiguous run of (layers, cells, code_size) bytes per reference.

    Reference-major order makes growing by one reference one contiguous write, whatever the size of the memory. A block
    is reserved whole but becomes resident only where it is written, so blocks can double without costing memory.
    One writer; readers hold the blocks' tensors and only look at rows that were written before they got them.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape  # (layers, cells, code_size)
        self.blocks: tuple[torch.Tensor, ...] = ()  # each uint8 (capacity, layers, cells, code_size)
        self.rows = 0

    @property
    def capacity(self) -> int:
        """Rows reserved so far."""
        return sum(len(block) for block in self.blocks)

    def append(self, codes: NDArray[np.uint8]) -> None:
        """Store codes (n, layers, cells, code_size) as rows `rows` … `rows + n - 1`."""
        if codes.shape[1:] != self.shape:
            raise ValueError(f"codes of shape {codes.shape[1:]} do not fit a memory of {self.shape}")
        source = torch.from_numpy(np.ascontiguousarray(codes))
        done = 0
        while done < len(source):
            if self.rows == self.capacity:
                reserve = min(max(self.capacity, _FIRST_BLOCK), _LARGEST_BLOCK)
                self.blocks = (*self.blocks, torch.empty((reserve, *self.shape), dtype=torch.uint8))
            tail = self.blocks[-1]
            offset = self.rows - (self.capacity - len(tail))
            count = min(len(tail) - offset, len(source) - done)
            tail[offset : offset + count] = source[done : done + count]
            self.rows += count
            done += count
