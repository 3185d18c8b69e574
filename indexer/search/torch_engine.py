"""Searches patches with torch, on CPU or CUDA: decodes a block of cells, then multiplies it with all its queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import MemoryBank
from indexer.memory.device_cache import CodeChunk, CodeSource, code_source_for
from indexer.search.engine import PatchMatches, PatchQuery
from indexer.search.gpu_global_index import GlobalRetrieval
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells

# Bytes of one decoded block of cells: on a CPU it should stay in the cache between decoding and the product.
_BLOCK_BYTES = {"cpu": 7 << 20, "cuda": 256 << 20}
_NEVER = -4.0  # added to an inner product of unit vectors, it is below every other


@dataclass(frozen=True)
class _Wanted:
    """One image's share of a search: patches float32 (layers, cells, dim), rows int64 (k,)."""

    patches: torch.Tensor
    rows: NDArray[np.int64]


class TorchEngine(GlobalRetrieval):
    """Every stored cell is decoded once and multiplied with the queries of all the cells it is a candidate for."""

    max_queries = 1  # batching saves decoding, but a single image should not wait for it

    def __init__(self, device: torch.device, codes: CodeSource | None = None) -> None:
        """codes: source of codes that the device can read."""
        super().__init__(device)
        self.name = f"torch-{device.type}"
        self.codes = codes or code_source_for(device)
        self._device = device

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """See `PatchSearchEngine.max_similarity`."""
        [best] = self._search_group(memory, [_Wanted(queries, rows)], rho)
        return best

    def search(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """See `PatchSearchEngine.search`.

        Queries that share most of their references form a group, whose references are decoded once. Queries that
        differ only in their weights are searched once.
        """
        keys = [(each.rho, each.patches.data_ptr(), each.rows.tobytes()) for each in queries]
        distinct = dict(zip(keys, queries, strict=True))
        best: dict[tuple[int, int, bytes], NDArray[np.float32]] = {}
        for rho in {each.rho for each in queries}:
            these = [key for key in distinct if key[0] == rho]
            asked = [_Wanted(distinct[key].patches, distinct[key].rows) for key in these]
            for group in _group_queries(asked):
                found = self._search_group(memory, [asked[index] for index in group], rho)
                best |= zip([these[index] for index in group], found, strict=True)
        return [
            PatchMatches(best[key], query.weights @ (1.0 - best[key])) for key, query in zip(keys, queries, strict=True)
        ]

    @torch.inference_mode()
    def _search_group(self, memory: MemoryBank, asked: Sequence[_Wanted], rho: int) -> list[NDArray[np.float32]]:
        """For each image the largest inner products, float32 (layers, cells); all references are decoded once."""
        rows = np.unique(np.concatenate([each.rows for each in asked]))
        members = [np.isin(rows, each.rows) for each in asked]
        over = self._search_all_cells if rho >= max(memory.space.grid) - 1 else self._search_neighbourhood
        best: list[NDArray[np.float32]] = []
        for chunks in self.codes.passes(memory, rows):
            found = over(memory, [each.patches for each in asked], members, chunks, rho)
            best = [np.maximum(one, other) for one, other in zip(best, found, strict=True)] if best else found
        return best

    def _search_neighbourhood(
        self,
        memory: MemoryBank,
        asked: Sequence[torch.Tensor],
        members: Sequence[NDArray[np.bool_]],
        chunks: list[CodeChunk],
        rho: int,
    ) -> list[NDArray[np.float32]]:
        """`_search_group` over the references of one pass, within the neighbourhood of every cell."""
        layers, cells, dim = asked[0].shape
        neighbours = torch.from_numpy(neighbour_cells(memory.space.grid, rho).copy()).to(self._device)
        inside = neighbours != OUTSIDE
        targets = neighbours.clamp_min(0)
        queries = [each.to(self._device, torch.float32) for each in asked]
        penalties = [self._penalty(each, chunks) for each in members]
        blocks = _Blocks(memory, chunks, self._device)
        products = torch.empty((blocks.step, neighbours.shape[1], blocks.k), device=self._device)
        found = torch.empty((len(asked), cells, neighbours.shape[1]), device=self._device)  # by stored, by query cell
        best = torch.full((len(asked), layers, cells), -2.0, device=self._device)
        for layer in range(layers):
            for start in range(0, cells, blocks.step):
                stop = min(start + blocks.step, cells)
                stored = blocks.decoded(layer, start, stop)  # (count, k, dim)
                for image, penalty in enumerate(penalties):
                    asking = queries[image][layer].index_select(0, targets[start:stop].flatten())
                    asking = asking.view(stop - start, -1, dim)  # (count, (2ρ+1)², dim)
                    scores = torch.bmm(asking, stored.transpose(1, 2), out=products[: stop - start])
                    if penalty is not None:
                        scores += penalty
                    torch.amax(scores, dim=2, out=found[image, start:stop])
            found.masked_fill_(~inside, -2.0)
            best[:, layer].scatter_reduce_(1, targets.flatten().expand(len(asked), -1), found.flatten(1), "amax")
        return list(best.cpu().numpy())

    def _search_all_cells(
        self,
        memory: MemoryBank,
        asked: Sequence[torch.Tensor],
        members: Sequence[NDArray[np.bool_]],
        chunks: list[CodeChunk],
        rho: int,
    ) -> list[NDArray[np.float32]]:
        """`_search_group` over the references of one pass where every cell is a candidate for every other."""
        layers, cells, _ = asked[0].shape
        queries = [each.to(self._device, torch.float32) for each in asked]
        penalties = [self._penalty(each, chunks) for each in members]
        blocks = _Blocks(memory, chunks, self._device)
        best = torch.full((len(asked), layers, cells), -2.0, device=self._device)
        for layer in range(layers):
            for start in range(0, cells, blocks.step):
                stored = blocks.decoded(layer, start, min(start + blocks.step, cells)).flatten(0, 1)
                for image, penalty in enumerate(penalties):
                    scores = queries[image][layer] @ stored.T  # (cells, count · k)
                    if penalty is not None:
                        scores.view(cells, -1, blocks.k).add_(penalty)
                    torch.maximum(best[image, layer], scores.amax(1), out=best[image, layer])
        return list(best.cpu().numpy())

    def _penalty(self, members: NDArray[np.bool_], chunks: Sequence[CodeChunk]) -> torch.Tensor | None:
        """Added to scores to exclude what only other images retrieved, float32 (k,); None if there is nothing."""
        if members.all():
            return None
        there = members[np.concatenate([chunk.query_positions for chunk in chunks])]
        return torch.from_numpy(np.where(there, 0.0, _NEVER).astype(np.float32)).to(self._device)


class _Blocks:
    """Decodes the references of one pass, some cells at a time, into buffers that are reused: fresh ones would cost a
    page fault for every page.

    k: how many references. step: maximum cells at a time.
    """

    def __init__(self, memory: MemoryBank, chunks: Sequence[CodeChunk], device: torch.device) -> None:
        _, cells, size = memory.arena.shape
        self._codec = memory.codec
        self._picked = [(chunk.block, torch.from_numpy(chunk.block_rows).to(device)) for chunk in chunks]
        self.k = sum(len(chunk.block_rows) for chunk in chunks)
        self.step = max(1, min(cells, _BLOCK_BYTES[device.type] // (4 * self.k * self._codec.dim)))
        self._codes = torch.empty(self.k * self.step * size, dtype=torch.uint8, device=device)
        self._decoded = torch.empty((self.step, self.k, self._codec.dim), device=device)

    def decoded(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """Cells start … stop − 1 of a layer, float32 (count, k, dim); valid until the next call."""
        size = self._codec.code_size
        codes = self._codes[: self.k * (stop - start) * size].view(self.k, stop - start, size)
        filled = 0
        for block, index in self._picked:
            torch.index_select(block[:, layer, start:stop], 0, index, out=codes[filled : filled + len(index)])
            filled += len(index)
        return self._codec.decode(codes.transpose(0, 1), out=self._decoded[: stop - start])


def _group_queries(asked: Sequence[_Wanted]) -> list[list[int]]:
    """Group the queries that share most references: one joins while the union is at most a third larger than each own.

    With less in common, products with others' references would cost more than decoding saves.
    """
    groups: list[list[int]] = []
    unions: list[NDArray[np.int64]] = []
    for index, each in enumerate(asked):
        for number, group in enumerate(groups):
            joined = np.union1d(unions[number], each.rows)
            if 3 * len(joined) <= 4 * min(len(asked[other].rows) for other in (*group, index)):
                unions[number] = joined
                group.append(index)
                break
        else:
            groups.append([index])
            unions.append(each.rows)
    return groups
