"""Patch search with torch, on CPU or CUDA: blocks of cells, gathered rows, one batched product each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import Memory
from indexer.memory.arena import Arena
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells

# What one block of cells may take decoded: on a CPU it should stay in the cache between decoding and the product.
_BLOCK_BYTES = {"cpu": 7 << 20, "cuda": 256 << 20}


@dataclass
class _Mirror:
    """A device's copy of an arena's blocks, and how many rows of it are filled."""

    blocks: list[torch.Tensor]
    rows: int = 0


class TorchEngine:
    """Every stored cell is decoded once and multiplied with the queries of all the cells it is a candidate for."""

    def __init__(self, device: torch.device) -> None:
        self.name = f"torch-{device.type}"
        self._device = device
        self._mirrors: WeakKeyDictionary[Arena, _Mirror] = WeakKeyDictionary()

    @torch.inference_mode()
    def best(self, memory: Memory, queries: torch.Tensor, rows: NDArray[np.int64], rho: int) -> NDArray[np.float32]:
        """See `Engine.best`."""
        layers, cells, dim = queries.shape
        neighbours = torch.from_numpy(neighbour_cells(memory.space.grid, rho).copy()).to(self._device)
        inside = neighbours != OUTSIDE
        targets = neighbours.clamp_min(0)
        queries = queries.to(self._device, torch.float32)
        parts = self._rows_by_block(memory, np.sort(rows))
        step = max(1, min(cells, _BLOCK_BYTES[self._device.type] // (4 * len(rows) * dim)))
        # Places that every block of cells uses again: fresh ones would cost a page fault for every page.
        gathered = torch.empty(len(rows) * step * memory.codec.code_size, dtype=torch.uint8, device=self._device)
        decoded = torch.empty((step, len(rows), dim), device=self._device)
        products = torch.empty((step, neighbours.shape[1], len(rows)), device=self._device)
        result = torch.full((layers, cells), -2.0, device=self._device)
        found = torch.empty((cells, neighbours.shape[1]), device=self._device)  # per stored cell and query cell
        for layer in range(layers):
            for start in range(0, cells, step):
                stop = min(start + step, cells)
                count = stop - start
                codes = gathered[: len(rows) * count * memory.codec.code_size]
                codes = codes.view(len(rows), count, memory.codec.code_size)
                filled = 0
                for block, index in parts:
                    torch.index_select(block[:, layer, start:stop], 0, index, out=codes[filled : filled + len(index)])
                    filled += len(index)
                stored = memory.codec.decode(codes.transpose(0, 1), out=decoded[:count])  # (count, k, dim)
                asking = queries[layer].index_select(0, targets[start:stop].flatten())
                asking = asking.view(count, -1, dim)  # (count, (2ρ+1)², dim)
                torch.bmm(asking, stored.transpose(1, 2), out=products[:count])
                torch.amax(products[:count], dim=2, out=found[start:stop])
            found.masked_fill_(~inside, -2.0)
            result[layer].scatter_reduce_(0, targets.flatten(), found.flatten(), "amax")
        best: NDArray[np.float32] = result.cpu().numpy()
        return best

    def _rows_by_block(self, memory: Memory, rows: NDArray[np.int64]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Sorted rows (k,) → pairs of a block on the device and the wanted rows within it, int64."""
        parts = []
        base = 0
        for block in self._blocks(memory):
            inside = rows[(rows >= base) & (rows < base + len(block))] - base
            if len(inside):
                parts.append((block, torch.from_numpy(inside).to(self._device)))
            base += len(block)
        return parts

    def _blocks(self, memory: Memory) -> Iterator[torch.Tensor]:
        if self._device.type == "cpu":
            yield from memory.blocks
            return
        mirror = self._mirrors.setdefault(memory.arena, _Mirror([]))
        base = 0
        for number, block in enumerate(memory.blocks):
            if number == len(mirror.blocks):
                mirror.blocks.append(torch.empty_like(block, device=self._device))
            start, stop = max(mirror.rows - base, 0), min(memory.rows - base, len(block))
            if start < stop:  # rows never change once written: only the new ones travel
                mirror.blocks[number][start:stop] = block[start:stop].to(self._device)
            base += len(block)
            yield mirror.blocks[number]
        mirror.rows = max(mirror.rows, memory.rows)
