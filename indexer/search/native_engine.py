"""Searches patches on an x86-64 CPU with compiled code: codes are multiplied where they lie, without a decoded copy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from indexer.memory import CODEC_NAMES, MemoryBank
from indexer.memory.device_cache import CodeSource, HostCodes
from indexer.search.engine import BestMatch, PatchMatches, PatchQuery, search_by_grid, similarities_by_search
from indexer.search.gpu_global_index import GlobalRetrieval
from indexer.search.native import InstructionSet, Search, instruction_sets, library
from indexer.search.neighbourhood import covers, neighbour_cells
from indexer.search.torch_engine import TorchEngine

_STEP = 32  # values: queries are padded to a multiple of what the widest instruction set multiplies at a time
_SIDE = 16  # cells whose queries lie side by side where every stored cell is a candidate for all of them
_MAX_LEVELS = (
    4096  # values of a code of 8-bit levels: the 32-bit sums of their products with 16-bit queries cannot overflow
)
_MIN_PRODUCTS = 4 << 20  # multiplications that are worth another thread
_PARTS = 4  # of each thread's share: one that is kept waiting is helped by the others


class NativeEngine(GlobalRetrieval):
    """Every code is read once, decoded in registers and multiplied with the queries of the cells it is a candidate for.

    Float codes are multiplied in float32. Codes of levels, int8 and int4, are multiplied with the queries rounded to 16
    bits, in integers; the inner products of the winners are then computed again from the float32 queries. So a
    similarity is always that of a real candidate, and with such codes below the true maximum by at most
    `√dim · m / 32767`, m being the query's largest magnitude (in practice by less than 1e-5): only where two candidates
    nearly tie.

    Where every cell is a candidate for every other, each code meets all queries of its layer. Then the time goes into
    multiplying: codes of every kind are decoded to float32, some at a time, and multiplied in blocks of registers.
    """

    max_queries = 1

    def __init__(self, instructions: InstructionSet | None = None) -> None:
        """instructions: by default the fastest that this machine has. RuntimeError where there are none."""
        super().__init__(torch.device("cpu"))
        functions, available = library(), instruction_sets()
        if functions is None or not available or (instructions or available[-1]) not in available:
            raise RuntimeError("the compiled patch search was not built, or not for this processor")
        self._functions = functions
        self._instructions = instructions or available[-1]
        self.name = f"native-{self._instructions.name.lower().replace('_', '-')}"
        self.codes: CodeSource = HostCodes()
        self._of_long_codes = TorchEngine(torch.device("cpu"))
        self._pool = ThreadPoolExecutor(max(1, torch.get_num_threads()), "patch-search")

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """See `PatchSearchEngine.max_similarity`."""
        return similarities_by_search(self, memory, queries, rows, rho)

    def search(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """See `PatchSearchEngine.search`."""
        return search_by_grid(memory, queries, partial(self._search_one_grid, memory))

    def _search_one_grid(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """The matches of queries of one grid; an image that is searched in several sets of references is multiplied
        once with all of them."""
        if memory.codec.has_levels and memory.codec.dim > _MAX_LEVELS:
            return self._of_long_codes.search(memory, queries)
        by_image: dict[tuple[int, int], list[int]] = {}
        for index, query in enumerate(queries):
            by_image.setdefault((query.rho, query.patches.data_ptr()), []).append(index)
        matches: dict[int, PatchMatches] = {}
        for indices in by_image.values():
            results = self._search_image(memory, [queries[index] for index in indices])
            matches |= zip(indices, results, strict=True)
        return [matches[index] for index in range(len(queries))]

    def _search_image(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """The matches of queries of the same patches and ρ."""
        rows = np.unique(np.concatenate([query.rows for query in queries]))
        members = np.stack([np.isin(rows, query.rows) for query in queries])
        grid, rho = memory.table_of(rows).grid, queries[0].rho
        everywhere = covers(grid, rho)
        neighbours = np.empty((0, 0), np.int32) if everywhere else neighbour_cells(grid, rho).astype(np.int32)
        addresses = np.empty(len(rows), np.int64)
        [chunks] = self.codes.passes(memory, rows)
        for chunk in chunks:
            addresses[chunk.query_positions] = chunk.block.data_ptr() + chunk.block_rows * chunk.block.stride(0)
        layers, cells, dim = queries[0].patches.shape
        patches = memory.codec.to_basis(queries[0].patches.detach().to("cpu", torch.float32))
        has_levels = memory.codec.has_levels and not everywhere
        asking = _tiles(patches) if everywhere else F.pad(patches, (0, -dim % _STEP)).contiguous()
        levels = np.empty(asking.shape if has_levels else 0, np.int16)
        search = Search(
            codec=CODEC_NAMES.index(memory.codec.name),
            references=len(rows),
            layers=layers,
            cells=cells,
            dim=dim,
            padded=dim + -dim % _STEP,
            code_size=memory.codec.code_size,
            width=cells if everywhere else neighbours.shape[1],
            selections=len(queries),
            codes=addresses.ctypes.data,
            queries=asking.data_ptr(),
            levels=levels.ctypes.data,
            neighbours=neighbours.ctypes.data,
            members=members.ctypes.data,
        )
        search_stored = self._functions.search_everywhere if everywhere else self._functions.search_cells
        best, winners, ranking = self._run(search, search_stored, has_levels)
        row, cell = np.divmod(winners, cells)
        return [
            PatchMatches(
                similarities,
                query.weights @ (1.0 - similarities),
                BestMatch(rows[row[at]], cell[at]),
                None if ranking is None else ranking[at],
            )
            for at, (query, similarities) in enumerate(zip(queries, best, strict=True))
        ]

    def _run(
        self, search: Search, search_stored: Callable[..., int], has_levels: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32] | None]:
        """The largest inner products, float32 (selections, layers, cells), and where: reference · cells + cell.

        search_stored: the compiled search of stored cells. has_levels: whether it multiplies integer levels; then also
        the inner products of levels that were the largest.
        """
        stored = search.layers * search.cells
        products = search.references * stored * search.width * search.dim
        threads = max(1, min(torch.get_num_threads(), products // _MIN_PRODUCTS))
        best = np.full((threads, search.selections, search.layers, search.cells), -np.inf, np.float32)
        winners = np.full(best.shape, -1, np.int64)
        functions, structure = self._functions, ctypes.byref(search)

        def search_cells(thread: int, first: int, last: int) -> None:
            similarities, where = best[thread].ctypes.data, winners[thread].ctypes.data
            if search_stored(self._instructions, structure, first, last, similarities, where):
                raise MemoryError("no memory for a patch search")

        def quantise(_: int, first: int, last: int) -> None:
            functions.quantise(structure, first, last, search.levels)

        def rescore(_: int, first: int, last: int) -> None:
            functions.rescore(structure, first, last, winners.ctypes.data, best.ctypes.data)

        if has_levels:
            self._share(quantise, stored, threads)
        self._share(search_cells, stored, threads)
        for other in range(1, threads):
            better = best[other] > best[0]
            np.copyto(best[0], best[other], where=better)
            np.copyto(winners[0], winners[other], where=better)
        if not has_levels:
            return best[0], winners[0], None
        ranking = best[0].copy()
        self._share(rescore, winners[0].size, threads)
        return best[0], winners[0], ranking

    def _share(self, work: Callable[[int, int, int], None], size: int, threads: int) -> None:
        """Run work(thread, first, last) over `size` items in parts, on this thread and others of the pool."""
        step = -(-size // (_PARTS * threads if threads > 1 else 1))
        parts = iter(range(0, size, step))

        def run(thread: int) -> None:
            for first in parts:
                work(thread, first, min(first + step, size))

        others = [self._pool.submit(run, thread) for thread in range(1, threads)]
        run(0)
        for other in others:
            other.result()


def _tiles(patches: torch.Tensor) -> torch.Tensor:
    """Patches (layers, cells, dim) as `search_everywhere` reads them: (layers, tiles, dim, 16), 16 cells side by side,
    an even number of tiles."""
    layers, cells, dim = patches.shape
    padded = F.pad(patches, (0, 0, 0, -cells % (2 * _SIDE)))
    return padded.view(layers, -1, _SIDE, dim).transpose(2, 3).contiguous()
