"""Searches global descriptors on a GPU, exactly under category filters and removals, which GPU FAISS ignores."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import MemoryBank, RetrievedReferences

_MAX_GPU_K = 2048  # FAISS's own limit on k there

# queries (1, dim), table (n, dim), k → inner products and rows of the table, (1, k) each, as NumPy arrays
Knn = Callable[[torch.Tensor, torch.Tensor, int], tuple[NDArray[np.float32], NDArray[np.int64]]]


@dataclass(frozen=True)
class _CandidateTable:
    """The candidates of a category filter: rows int64 (n,), table float32 (n, dim) on the device."""

    memory: weakref.ref[MemoryBank]
    category: str | None
    exclude_rows: frozenset[int]
    grid: tuple[int, int] | None
    rows: NDArray[np.int64]
    table: torch.Tensor


class GpuGlobalIndex:
    """Copies of the global index's blocks on a device; a sealed block is copied once.

    FAISS's GPU indices accept a selector and ignore it. So the candidates are gathered first, on the device, and its
    flat search runs over exactly those. That costs one more read and write of the descriptors, 12 MB at 4,000
    references of 768 values, and is exact whatever was removed or filtered.

    FAISS's GPU resources are not thread-safe: the first thread that searches owns them, others search on the host.
    """

    def __init__(self, device: torch.device, knn: Knn | None = None) -> None:
        """knn: flat search over tables on this device; by default FAISS's, or torch's where FAISS has no CUDA."""
        self._device = device
        self._knn = knn or (_faiss_knn() if hasattr(faiss, "StandardGpuResources") else _torch_knn)
        self._tables: weakref.WeakKeyDictionary[faiss.IndexFlatIP, torch.Tensor] = weakref.WeakKeyDictionary()
        self._last: _CandidateTable | None = None
        self._owner: int | None = None

    @torch.inference_mode()
    def nearest_references(
        self,
        memory: MemoryBank,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None,
        exclude_rows: Sequence[int],
        grid: tuple[int, int] | None = None,
    ) -> RetrievedReferences:
        """See `MemoryBank.nearest_references`."""
        if not self._owns_resources():
            return memory.nearest_references(descriptor, k, category, exclude_rows, grid)
        rows, table = self._candidates(memory, category, frozenset(exclude_rows), grid)
        count = min(k, len(rows))
        if count == 0 or count > _MAX_GPU_K:
            return memory.nearest_references(descriptor, k, category, exclude_rows, grid)
        query = torch.from_numpy(np.ascontiguousarray(descriptor[None], np.float32)).to(self._device)
        similarities, positions = self._knn(query, table, count)
        best = np.lexsort((positions[0], -similarities[0]))  # equal ones by row, as on the host
        return RetrievedReferences(rows[positions[0][best]], similarities[0][best])

    def _candidates(
        self, memory: MemoryBank, category: str | None, exclude_rows: frozenset[int], grid: tuple[int, int] | None
    ) -> tuple[NDArray[np.int64], torch.Tensor]:
        """The candidates' rows and descriptors; cached, since all images of a micro-batch use the same."""
        last = self._last
        if (
            last is not None
            and last.memory() is memory
            and (last.category, last.exclude_rows, last.grid) == (category, exclude_rows, grid)
        ):
            return last.rows, last.table
        rows = np.flatnonzero(memory.allowed_rows(category, tuple(exclude_rows), grid))
        tables = [torch.empty((0, memory.space.global_dim), device=self._device)]
        base = 0
        for block in memory.global_index.blocks:
            inside = rows[(rows >= base) & (rows < base + block.ntotal)] - base
            if len(inside):
                tables.append(self._table(block)[torch.from_numpy(inside).to(self._device)])
            base += block.ntotal
        table = torch.cat(tables)
        self._last = _CandidateTable(weakref.ref(memory), category, exclude_rows, grid, rows, table)
        return rows, table

    def _table(self, block: faiss.IndexFlatIP) -> torch.Tensor:
        """A block's descriptors (n, dim) on the device; a block never changes once it is made."""
        table = self._tables.get(block)
        if table is None:
            table = torch.from_numpy(block.reconstruct_n(0, block.ntotal)).to(self._device)
            self._tables[block] = table
        return table

    def _owns_resources(self) -> bool:
        """Whether this thread owns the resources; the first caller does."""
        caller = threading.get_ident()
        self._owner = self._owner or caller
        return self._owner == caller


class GlobalRetrieval:
    """Global retrieval for every engine: on the device where there is one, else on the host."""

    def __init__(self, device: torch.device) -> None:
        self._index = GpuGlobalIndex(device) if device.type == "cuda" else None

    def nearest_references(
        self,
        memory: MemoryBank,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None = None,
        exclude_rows: Sequence[int] = (),
        grid: tuple[int, int] | None = None,
    ) -> RetrievedReferences:
        """See `PatchSearchEngine.nearest_references`."""
        if self._index is None:
            return memory.nearest_references(descriptor, k, category, exclude_rows, grid)
        return self._index.nearest_references(memory, descriptor, k, category, exclude_rows, grid)


def _torch_knn(queries: torch.Tensor, table: torch.Tensor, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    scores, positions = torch.topk(queries @ table.T, k)
    return scores.cpu().numpy(), positions.cpu().numpy()


def _faiss_knn() -> Knn:
    import faiss.contrib.torch_utils  # lets FAISS read tensors in place

    resources = faiss.StandardGpuResources()

    def search(queries: torch.Tensor, table: torch.Tensor, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores, positions = faiss.knn_gpu(resources, queries, table, k, metric=faiss.METRIC_INNER_PRODUCT)
        return scores.cpu().numpy(), positions.cpu().numpy()

    return search
