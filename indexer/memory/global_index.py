"""The flat inner-product index over global descriptors, as sealed FAISS blocks so that it grows without copying."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024  # references; the work of one append is bounded by rewriting the last block


@dataclass(frozen=True)
class RetrievedReferences:
    """The retrieved references of one image, most similar first (the K of section 'global retrieval').

    rows: int64 (k,), rows of the memory. similarities: float32 (k,), inner products of global descriptors.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]


@dataclass(frozen=True)
class GlobalIndex:
    """Immutable `IndexFlatIP` blocks; every block but the last is full.

    FAISS crashes when an index is searched while it grows, so an append seals what is full and rebuilds only the last
    block, beside the one that running searches still hold.
    """

    dim: int
    blocks: tuple[faiss.IndexFlatIP, ...] = ()

    def with_descriptors(self, descriptors: NDArray[np.float32]) -> GlobalIndex:
        """The index with descriptors (n, dim) appended."""
        sealed = list(self.blocks)
        pending = np.ascontiguousarray(descriptors, dtype=np.float32)
        if sealed and sealed[-1].ntotal < _BLOCK:
            tail = sealed.pop()
            pending = np.concatenate([tail.reconstruct_n(0, tail.ntotal), pending])
        for start in range(0, len(pending), _BLOCK):
            block = faiss.IndexFlatIP(self.dim)
            block.add(pending[start : start + _BLOCK])
            sealed.append(block)
        return GlobalIndex(self.dim, tuple(sealed))

    def descriptor(self, row: int) -> NDArray[np.float32]:
        """The stored descriptor (dim,) of one row."""
        descriptor: NDArray[np.float32] = self.blocks[row // _BLOCK].reconstruct(row % _BLOCK)
        return descriptor

    def search(self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]) -> RetrievedReferences:
        """The at most k allowed rows with the largest inner product with query (dim,), best first.

        allowed: bool (rows,). One query at a time, so that an answer never depends on what it was batched with.
        Equal similarities are ordered by row; which of them are left out where there are more than k is FAISS's choice.
        """
        rows: list[NDArray[np.int64]] = []
        similarities: list[NDArray[np.float32]] = []
        for index, block in enumerate(self.blocks):
            base = index * _BLOCK
            inside = allowed[base : base + block.ntotal]
            count = min(k, int(np.count_nonzero(inside)))
            if count == 0:
                continue
            bitmap = np.packbits(inside, bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))
            scores, labels = block.search(query[None], count, params=parameters)
            rows.append(labels[0] + base)
            similarities.append(scores[0])
        if not rows:
            return RetrievedReferences(np.empty(0, np.int64), np.empty(0, np.float32))
        all_rows, all_similarities = np.concatenate(rows), np.concatenate(similarities)
        best = np.lexsort((all_rows, -all_similarities))[:k]
        return RetrievedReferences(all_rows[best], all_similarities[best])
