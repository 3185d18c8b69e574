"""Append-only storage of patch codes in blocks; searches read written rows while new ones are appended."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_FIRST_BLOCK = 16  # references
_MAX_BLOCK = 1024


class CodeArena:
    """Append-only storage of codes, one contiguous run of (layers, cells, code_size) bytes per reference.

    Reference-major order makes growing by one reference one contiguous write, whatever the size of the memory. A block
    is reserved whole but becomes resident only where it is written, so blocks can double without costing memory.
    One writer; readers hold the blocks' tensors and only look at rows that were written before they got them.

    Codes can also stay where they are, in mapped files, which the system reads as they are needed and drops from memory
    under pressure: each such addition is a block of its own, and nothing is copied. Rows that the block before it has
    reserved and not written stay empty.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape  # (layers, cells, code_size)
        self.blocks: tuple[torch.Tensor, ...] = ()  # each uint8 (capacity, layers, cells, code_size)
        self.rows = 0  # up to the last that is written
        self._reserved = 0  # rows of blocks that were made here, since the last that was not

    @property
    def capacity(self) -> int:
        """Rows reserved so far."""
        return sum(len(block) for block in self.blocks)

    def append(self, codes: NDArray[np.uint8], *, in_place: bool = False) -> int:
        """Store codes (n, layers, cells, code_size) in n rows; returns the first. in_place: as they lie, uncopied."""
        if codes.shape[1:] != self.shape:
            raise ValueError(f"codes of shape {codes.shape[1:]} do not fit a memory of {self.shape}")
        source = torch.from_numpy(np.ascontiguousarray(codes))
        if in_place:
            first = self.capacity
            self.blocks, self.rows, self._reserved = (*self.blocks, source), first + len(source), 0
            return first
        first, end = self.rows, self.rows + len(source)
        while self.capacity < end:
            self.blocks = (*self.blocks, self._block())
        base = 0
        for block in self.blocks:
            start, stop = max(first, base), min(end, base + len(block))
            if start < stop:
                block[start - base : stop - base] = source[start - first : stop - first]
            base += len(block)
        self.rows = end
        return first

    def truncate(self, rows: int) -> None:
        """Discard the rows beyond this many. No published snapshot may reference them."""
        self.rows = min(self.rows, rows)
        while self.blocks and self.capacity - len(self.blocks[-1]) >= self.rows:
            self.blocks = self.blocks[:-1]

    def _block(self) -> torch.Tensor:
        """An empty block: of 16 references first, then of as many as were made before it, up to 1,024."""
        block = torch.empty((min(max(self._reserved, _FIRST_BLOCK), _MAX_BLOCK), *self.shape), dtype=torch.uint8)
        self._reserved += len(block)
        return block
