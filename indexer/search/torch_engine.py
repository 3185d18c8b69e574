"""Patch search with torch, on CPU or CUDA: blocks of cells, gathered rows, one batched product each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import Memory
from indexer.memory.residency import CodeSource, Part, codes_on
from indexer.search.device_globals import Retrieval
from indexer.search.engine import Answer, Question, one_by_one
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells

# What one block of cells may take decoded: on a CPU it should stay in the cache between decoding and the product.
_BLOCK_BYTES = {"cpu": 7 << 20, "cuda": 256 << 20}


class TorchEngine(Retrieval):
    """Every stored cell is decoded once and multiplied with the queries of all the cells it is a candidate for."""

    at_once = 1

    def __init__(self, device: torch.device, codes: CodeSource | None = None) -> None:
        """codes: where to find codes that the device can read."""
        super().__init__(device)
        self.name = f"torch-{device.type}"
        self.codes = codes or codes_on(device)
        self._device = device

    @torch.inference_mode()
    def best(self, memory: Memory, queries: torch.Tensor, rows: NDArray[np.int64], rho: int) -> NDArray[np.float32]:
        """See `Engine.best`."""
        passes = self.codes.passes(memory, np.sort(rows))
        best: NDArray[np.float32] = np.maximum.reduce([self._over(memory, queries, parts, rho) for parts in passes])
        return best

    def answers(self, memory: Memory, questions: Sequence[Question]) -> list[Answer]:
        """See `Engine.answers`."""
        return one_by_one(self, memory, questions)

    def _over(self, memory: Memory, queries: torch.Tensor, parts: list[Part], rho: int) -> NDArray[np.float32]:
        """`best` over the references of one pass."""
        layers, cells, dim = queries.shape
        k = sum(len(part.places) for part in parts)
        neighbours = torch.from_numpy(neighbour_cells(memory.space.grid, rho).copy()).to(self._device)
        inside = neighbours != OUTSIDE
        targets = neighbours.clamp_min(0)
        queries = queries.to(self._device, torch.float32)
        picked = [(part.block, torch.from_numpy(part.places).to(self._device)) for part in parts]
        step = max(1, min(cells, _BLOCK_BYTES[self._device.type] // (4 * k * dim)))
        # Places that every block of cells uses again: fresh ones would cost a page fault for every page.
        gathered = torch.empty(k * step * memory.codec.code_size, dtype=torch.uint8, device=self._device)
        decoded = torch.empty((step, k, dim), device=self._device)
        products = torch.empty((step, neighbours.shape[1], k), device=self._device)
        result = torch.full((layers, cells), -2.0, device=self._device)
        found = torch.empty((cells, neighbours.shape[1]), device=self._device)  # per stored cell and query cell
        for layer in range(layers):
            for start in range(0, cells, step):
                stop = min(start + step, cells)
                count = stop - start
                codes = gathered[: k * count * memory.codec.code_size]
                codes = codes.view(k, count, memory.codec.code_size)
                filled = 0
                for block, index in picked:
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
