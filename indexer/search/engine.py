"""The protocol of patch search engines (S_l(t) of the paper: exact, within a neighbourhood of each cell)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders.base import Features
from indexer.memory import MemoryBank, RetrievedReferences
from indexer.memory.device_cache import CodeSource


@dataclass(frozen=True)
class PatchQuery:
    """The patch search of one image.

    patches: float32 (layers, cells, dim), unit vectors, on any device. rows: int64 (k,), k ≥ 1, rows of the memory, all
    of the image's grid, in any order. rho: the neighbourhood's Chebyshev radius in cells. weights: float32 (layers,),
    summing to 1.
    """

    patches: torch.Tensor
    rows: NDArray[np.int64]
    rho: int
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class BestMatch:
    """The stored patch of the highest similarity: its row of the bank and its cell, int64 (layers, cells) each."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class PatchMatches:
    """The result of one image's patch search.

    similarities: float32 (layers, cells), the largest inner product with any candidate. fused: float32 (cells,), the
    weighted mean of 1 − similarity. best_match: None from engines that track the maximum only. ranking: float32
    (layers, cells), the values by which the best was chosen, where these are not the similarities.
    """

    similarities: NDArray[np.float32]
    fused: NDArray[np.float32]
    best_match: BestMatch | None = None
    ranking: NDArray[np.float32] | None = None


class PatchSearchEngine(Protocol):
    """Exact patch search over the retrieved references."""

    name: str
    max_queries: int  # queries worth batching in one call; 1 where batching gains nothing
    codes: CodeSource  # its stats count cache hits and copies

    def nearest_references(
        self,
        memory: MemoryBank,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None = None,
        exclude_rows: Sequence[int] = (),
        grid: tuple[int, int] | None = None,
    ) -> RetrievedReferences:
        """Global retrieval: the result of `MemoryBank.nearest_references`, on any device."""
        ...

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """The largest inner product of every query patch with its candidates (the maximum in S_l(t)).

        Arguments as in `PatchQuery`; returns float32 (layers, cells).
        """
        ...

    def search(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """The matches of several images' queries, in order; each equals the result of a search of its own."""
        ...


def best_similarities(
    engine: PatchSearchEngine, memory: MemoryBank, features: Features, rows: NDArray[np.int64], rho: int
) -> NDArray[np.float32]:
    """`PatchSearchEngine.max_similarity` for one image, a batch of one; 1 in cells that show none of it."""
    best = engine.max_similarity(memory, features.patches[0], rows, rho)
    if (empty := features.without_image()) is not None:
        best[:, empty] = 1.0
    return best


def similarities_by_search(
    engine: PatchSearchEngine, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
) -> NDArray[np.float32]:
    """`PatchSearchEngine.max_similarity` of an engine that has nothing quicker than its `search`."""
    weights = np.full(len(queries), 1 / len(queries), np.float32)
    [matches] = engine.search(memory, [PatchQuery(queries, rows, rho, weights)])
    return matches.similarities


def search_by_grid(
    memory: MemoryBank,
    queries: Sequence[PatchQuery],
    search: Callable[[Sequence[PatchQuery]], list[PatchMatches]],
) -> list[PatchMatches]:
    """`PatchSearchEngine.search` in one call of `search` for the queries of each grid."""
    grids = [memory.table_of(query.rows).grid for query in queries]
    matches: dict[int, PatchMatches] = {}
    for grid in dict.fromkeys(grids):
        indices = [index for index, query_grid in enumerate(grids) if query_grid == grid]
        matches |= zip(indices, search([queries[index] for index in indices]), strict=True)
    return [matches[index] for index in range(len(queries))]


def search_each(engine: PatchSearchEngine, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
    """`PatchSearchEngine.search` for an engine that gains nothing from batching."""
    matches = []
    for query in queries:
        similarities = engine.max_similarity(memory, query.patches, query.rows, query.rho)
        matches.append(PatchMatches(similarities, query.weights @ (1.0 - similarities)))
    return matches
