"""Searches patches with FAISS on the CPU: one inverted-file index a layer, whose lists are the grid cells."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import Codec, MemoryBank
from indexer.memory.device_cache import CodeSource, HostCodes
from indexer.search.engine import PatchMatches, PatchQuery, search_each
from indexer.search.gpu_global_index import GlobalRetrieval
from indexer.search.neighbourhood import neighbour_cells

_BY_QUERY = 3  # IndexIVF.parallel_mode: threads share the queries; search_preassigned runs on one thread otherwise


class FaissEngine(GlobalRetrieval):
    """List t of a layer's index holds cell t of the K retrieved references, row by row.

    The lists are filled per request from the rows that were retrieved, so the scan never grows with the memory. FAISS's
    own scalar quantiser reads fp16 codes as they are stored; int8 and int4 codes, whose scale is per patch, are
    decoded first, and so are bf16 codes, for which FAISS would round the queries, too.
    """

    name = "faiss-cpu"
    max_queries = 1

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.codes: CodeSource = HostCodes()

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """See `PatchSearchEngine.max_similarity`."""
        keys = np.ascontiguousarray(neighbour_cells(memory.table_of(rows).grid, rho))
        patches = memory.codec.to_basis(queries.detach().to("cpu", torch.float32)).contiguous().numpy()
        layers, cells, _ = patches.shape
        best = np.empty((layers, cells), np.float32)
        retrieved = [memory.codes_of(int(row)) for row in rows]
        for layer in range(layers):
            lists = max(cells, keys.shape[1])  # FAISS probes no more lists than there are
            index = layer_index(memory.codec, lists, [codes[layer] for codes in retrieved])
            best[layer] = _search(index, patches[layer], keys)
        return best

    def search(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """See `PatchSearchEngine.search`."""
        return search_each(self, memory, queries)


def layer_index(codec: Codec, lists: int, retrieved: list[torch.Tensor]) -> faiss.IndexIVF:
    """K tables uint8 (cells, code_size) of one layer → an index whose list t is row t of each of them."""
    quantiser = faiss.IndexFlatIP(codec.dim)
    if codec.name == "fp16":
        kind = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexIVFScalarQuantizer(quantiser, codec.dim, lists, kind, faiss.METRIC_INNER_PRODUCT, False)
    else:
        index = faiss.IndexIVFFlat(quantiser, codec.dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.referenced_objects = [quantiser]  # FAISS holds it by address only
    index.is_trained = True
    index.parallel_mode = _BY_QUERY
    ids = np.arange(len(retrieved), dtype=np.int64)
    for cell in range(len(retrieved[0])):
        codes = torch.stack([table[cell] for table in retrieved])  # (k, code_size)
        if codec.has_levels or codec.name == "bf16":
            codes = codec.decode(codes).view(torch.uint8)
        index.invlists.add_entries(cell, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes.numpy()))
    return index


def _search(index: faiss.IndexIVF, queries: NDArray[np.float32], keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """The best inner product float32 (cells,) of every query over the lists its row of keys names; −1 is skipped."""
    index.nprobe = keys.shape[1]
    best, _ = index.search_preassigned(queries, 1, keys, np.zeros(keys.shape, np.float32))
    similarities: NDArray[np.float32] = best[:, 0]
    return similarities
