"""Searches a whole micro-batch in two Triton launches that read every retrieved code once, in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
import triton
from numpy.typing import NDArray

from indexer.memory import Codec, MemoryBank
from indexer.memory.device_cache import CodeChunk, CodeSource, code_source_for
from indexer.search import kernels
from indexer.search.engine import BestMatch, PatchMatches, PatchQuery, search_by_grid, similarities_by_search
from indexer.search.gpu_global_index import GlobalRetrieval
from indexer.search.neighbourhood import covers, neighbour_cells
from indexer.search.query_grouping import MAX_GROUP_SIZE, group_queries
from indexer.search.torch_engine import TorchEngine

_MIN_TILE = 16  # the smallest side of a tile that tensor cores take
_MAX_COLUMNS = 64
_MANY_QUERIES = 512  # as where parts lie anywhere: arithmetic takes longer than reading
_FORMATS = {"fp32": kernels.FP32, "fp16": kernels.FP16, "bf16": kernels.BF16, "int8": kernels.INT8}


@dataclass(frozen=True)
class Tile:
    """The sizes of `max_similarity`'s tile: references × queries, and how many of their values at a time.

    warps: that share a tile. stages: loads under way at once.
    """

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 3

    @classmethod
    def fitting(cls, queries: int, dim: int, codec: str) -> Tile:
        """For this many queries of a group at one stored cell; more columns than that fit take further programs.

        The fastest of those that were timed on an H100 (docs/performance-gpu.md).
        """
        columns = min(max(triton.next_power_of_2(queries), _MIN_TILE), _MAX_COLUMNS)
        depth = max(triton.next_power_of_2(dim), _MIN_TILE)
        if queries > _MANY_QUERIES and codec != "fp32":
            return cls(64, 2 * _MAX_COLUMNS, min(depth, 64))
        if codec in ("fp16", "bf16"):
            if columns == _MIN_TILE:
                return cls(32, columns, min(depth, 128), stages=4)
            if columns == _MAX_COLUMNS:
                return cls(128, columns, min(depth, 64))
        return cls(64, columns, min(depth, 64))


class TritonEngine(GlobalRetrieval):
    """Searches in half precision, then rescores every winner in float32.

    A program of the first kernel takes one stored cell of one layer and multiplies it with the queries of all the cells
    it is a candidate for, of every image of a group that shares its references; a table of pointers finds the codes in
    whichever blocks they lie, so nothing is gathered first. It multiplies in float16 with float32 sums (fp32 codes:
    float32 throughout). The second kernel computes the winners' inner products again from the float32 queries. So a
    similarity is always that of a real candidate, and is below the true maximum by at most 1e-3 (twice the
    rounding of a unit query to 11 bits), in practice by less than 1e-5: only where two candidates nearly tie.

    The kernels do not read int4 codes: torch's engine decodes and searches those.

    One thread owns it.
    """

    max_queries = MAX_GROUP_SIZE

    def __init__(self, device: torch.device, codes: CodeSource | None = None) -> None:
        """codes: source of codes that the device can read."""
        super().__init__(device)
        self.name = f"triton-{device.type}"
        self.codes = codes or code_source_for(device)
        self._device = device
        self._decoding = TorchEngine(device, self.codes)

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """See `PatchSearchEngine.max_similarity`."""
        return similarities_by_search(self, memory, queries, rows, rho)

    @torch.inference_mode()
    def search(self, memory: MemoryBank, questions: Sequence[PatchQuery]) -> list[PatchMatches]:
        """See `PatchSearchEngine.search`. Queries of one grid and one ρ are searched in one pass."""
        if memory.codec.name not in _FORMATS:
            return self._decoding.search(memory, questions)
        return search_by_grid(memory, questions, partial(self._search_one_grid, memory))

    def _search_one_grid(self, memory: MemoryBank, questions: Sequence[PatchQuery]) -> list[PatchMatches]:
        matches: dict[int, PatchMatches] = {}
        for rho in {question.rho for question in questions}:
            indices = [index for index, question in enumerate(questions) if question.rho == rho]
            together = self._answers(memory, [questions[index] for index in indices], rho)
            matches.update(zip(indices, together, strict=True))
        return [matches[index] for index in range(len(questions))]

    def _answers(self, memory: MemoryBank, questions: Sequence[PatchQuery], rho: int) -> list[PatchMatches]:
        search = _Search(self._device, memory, questions, rho)
        for chunks in self.codes.passes(memory, search.rows):
            search.over(chunks)
        return search.answers()


class _Search:
    """The queries of one ρ, searched pass by pass over a code source."""

    def __init__(self, device: torch.device, memory: MemoryBank, questions: Sequence[PatchQuery], rho: int) -> None:
        self._device = device
        self._codec: Codec = memory.codec
        retrieved = [question.rows for question in questions]
        self.rows = np.unique(np.concatenate(retrieved))
        self._groups = group_queries(retrieved)
        self._owners = _owners(self._groups, retrieved, self.rows)
        grid = memory.table_of(self.rows).grid
        self._everywhere = covers(grid, rho)
        # Where every cell is a candidate for every other, a table would say nothing, and take 67 MB for 4,096 cells.
        self._neighbours = _neighbours_on(device, (1, 1) if self._everywhere else grid, 0 if self._everywhere else rho)
        self._width = math.prod(grid) if self._everywhere else self._neighbours.shape[1]
        self._together = max(len(group) for group in self._groups)
        self._seats = np.array([group + [-1] * (self._together - len(group)) for group in self._groups], np.int32)
        self._queries = torch.stack([q.patches.to(device, torch.float32) for q in questions])
        # In float16, where tensor cores multiply them, 8-bit levels are exact, and bfloat16 values to 3e-8.
        self._asking = self._queries if self._codec.name == "fp32" else self._queries.half()
        self._weights = np.stack([question.weights for question in questions])
        shape = self._queries.shape[:3]  # (images, layers, cells)
        # All results lie in one tensor, so that one copy brings them to the host.
        self._results = torch.zeros((4, _aligned(math.prod(shape))), device=device)
        self._similarities = self._results[0, : math.prod(shape)].view(shape).fill_(-torch.inf)
        self._nearest_rows = self._results[1, : math.prod(shape)].view(torch.int32).view(shape)
        self._nearest_cells = self._results[2, : math.prod(shape)].view(torch.int32).view(shape)
        self._fused = self._results[3, : shape[0] * shape[2]].view(shape[0], shape[2])

    def over(self, chunks: Sequence[CodeChunk]) -> None:
        """Search the references of one pass."""
        addresses = np.zeros(len(self.rows), np.int64)  # by row of `self.rows`; 0 where another pass has it
        for chunk in chunks:
            addresses[chunk.query_positions] = chunk.block.data_ptr() + chunk.block_rows * chunk.block.stride(0)
        inside = [np.flatnonzero((owners != 0) & (addresses != 0)) for owners in self._owners]
        listed = np.concatenate(inside)
        owned = np.concatenate([owners[selected] for owners, selected in zip(self._owners, inside, strict=True)])
        bounds = np.cumsum([0, *(len(selected) for selected in inside)])
        pointers, owners, groups, names, seats, weights = _to_device(
            self._device,
            addresses[listed],
            owned,
            bounds.astype(np.int32),
            listed.astype(np.int32),
            self._seats,
            self._weights,
        )
        best = torch.full_like(self._nearest_rows, kernels.NOTHING, dtype=torch.int64)
        images, layers, cells, dim = self._queries.shape
        tile = Tile.fitting(self._together * self._width, dim, self._codec.name)
        column_tiles = triton.cdiv(self._together * self._width, tile.columns)
        stride = chunks[0].block.stride(2)  # bytes from one code to the next
        kernels.max_similarity[(cells * column_tiles, layers, len(self._groups))](
            best,
            self._asking,
            pointers,
            owners,
            groups,
            seats,
            self._neighbours,
            layers,
            cells,
            dim,
            column_tiles,
            self._together,
            FORMAT=_FORMATS[self._codec.name],
            CODE=stride,
            ALIGNED=math.gcd(stride, 16),
            WIDTH=self._neighbours.shape[1],
            EVERYWHERE=self._everywhere,
            ROWS=tile.rows,
            COLUMNS=tile.columns,
            DEPTH=tile.depth,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        kernels.rescore[(cells, images)](
            best,
            self._queries,
            pointers,
            names,
            weights,
            self._similarities,
            self._nearest_rows,
            self._nearest_cells,
            self._fused,
            layers,
            cells,
            dim,
            FORMAT=_FORMATS[self._codec.name],
            CODE=stride,
            DEPTH=triton.next_power_of_2(min(dim, 256)),
        )

    def answers(self) -> list[PatchMatches]:
        """The matches of all queries, on the host."""
        shape = self._queries.shape[:3]
        results = self._results.cpu().numpy()
        similarities = results[0, : math.prod(shape)].reshape(shape)
        rows, cells = results[1:3, : math.prod(shape)].view(np.int32).reshape(2, *shape)
        fused = results[3, : shape[0] * shape[2]].reshape(shape[0], shape[2])
        return [
            PatchMatches(similarities[i], fused[i], BestMatch(self.rows[rows[i]], cells[i].astype(np.int64)))
            for i in range(shape[0])
        ]


def _aligned(count: int) -> int:
    """So many values of four bytes that the next begin at a multiple of 16 bytes: Triton compiles anew for others."""
    return -(-count // 4) * 4


def _to_device(device: torch.device, *arrays: NDArray[np.generic]) -> list[torch.Tensor]:
    """Arrays on the device, in one transfer: each small one would take the host as long as dozens of references."""
    starts = np.cumsum([0, *(4 * _aligned(-(-array.nbytes // 4)) for array in arrays)])
    together = np.zeros(starts[-1], np.uint8)
    for start, array in zip(starts, arrays, strict=False):
        together[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    on_device = torch.from_numpy(together).to(device)
    return [
        on_device[start : start + array.nbytes].view(torch.from_numpy(array).dtype).view(array.shape)
        for start, array in zip(starts, arrays, strict=False)
    ]


@lru_cache(maxsize=16)
def _neighbours_on(device: torch.device, grid: tuple[int, int], rho: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(neighbour_cells(grid, rho), np.int32)).to(device)


def _owners(
    groups: Sequence[Sequence[int]], retrieved: Sequence[NDArray[np.int64]], rows: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Per group int64 (rows,): bit i is set where the group's image i retrieved that row."""
    owners = []
    for group in groups:
        bits = np.zeros(len(rows), np.int64)
        for seat, image in enumerate(group):
            bits[np.searchsorted(rows, retrieved[image])] |= np.int64(1) << seat
        owners.append(bits)
    return owners
