"""What every patch search engine offers, so that any of them can be held against the same oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import MemoryBank, RetrievedReferences
from indexer.memory.device_cache import CodeSource


@dataclass(frozen=True)
class PatchQuery:
    """What one image asks.

    patches: float32 (layers, cells, dim), unit vectors, on any device. rows: int64 (k,), k ≥ 1, rows of the memory, in
    any order. rho: the neighbourhood's Chebyshev radius in cells. weights: float32 (layers,), summing to 1.
    """

    patches: torch.Tensor
    rows: NDArray[np.int64]
    rho: int
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class BestMatch:
    """Which stored patch was the best: its row of the memory and its cell, int64 (layers, cells) each."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class PatchMatches:
    """What one image is told.

    similarities: float32 (layers, cells), the largest inner product with any candidate. fused: float32 (cells,), the
    weighted mean of 1 − similarity. best_match: None from engines that keep the maximum only.
    """

    similarities: NDArray[np.float32]
    fused: NDArray[np.float32]
    best_match: BestMatch | None = None


class PatchSearchEngine(Protocol):
    """Exact patch search over the retrieved references."""

    name: str
    max_queries: int  # images whose questions gain by being asked together; 1 where nothing is gained
    codes: CodeSource  # its counters tell what a device held and what had to be sent

    def nearest_references(
        self,
        memory: MemoryBank,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None = None,
        exclude_rows: Sequence[int] = (),
    ) -> RetrievedReferences:
        """Global retrieval: what `MemoryBank.nearest_references` gives, wherever it is computed."""
        ...

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """The largest inner product of every query patch with its candidates (the maximum in S_l(t)).

        Takes what a `PatchQuery` holds; returns float32 (layers, cells).
        """
        ...

    def search(self, memory: MemoryBank, questions: Sequence[PatchQuery]) -> list[PatchMatches]:
        """The answers to several images' questions, in order; each is what the image would be told alone."""
        ...


def search_each(engine: PatchSearchEngine, memory: MemoryBank, questions: Sequence[PatchQuery]) -> list[PatchMatches]:
    """`PatchSearchEngine.search` of an engine that gains nothing from several questions at once."""
    answers = []
    for question in questions:
        similarities = engine.max_similarity(memory, question.patches, question.rows, question.rho)
        answers.append(PatchMatches(similarities, question.weights @ (1.0 - similarities)))
    return answers
