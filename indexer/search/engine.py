"""What every patch search engine offers, so that any of them can be held against the same oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import Memory, Neighbours
from indexer.memory.residency import CodeSource


@dataclass(frozen=True)
class Question:
    """What one image asks.

    patches: float32 (layers, cells, dim), unit vectors, on any device. rows: int64 (k,), k ≥ 1, rows of the memory, in
    any order. rho: the neighbourhood's Chebyshev radius in cells. weights: float32 (layers,), summing to 1.
    """

    patches: torch.Tensor
    rows: NDArray[np.int64]
    rho: int
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Nearest:
    """Which stored patch was the best: its row of the memory and its cell, int64 (layers, cells) each."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class Answer:
    """What one image is told.

    similarities: float32 (layers, cells), the largest inner product with any candidate. fused: float32 (cells,), the
    weighted mean of 1 − similarity. nearest: None from engines that keep the maximum only.
    """

    similarities: NDArray[np.float32]
    fused: NDArray[np.float32]
    nearest: Nearest | None = None


class Engine(Protocol):
    """Exact patch search over the retrieved references."""

    name: str
    at_once: int  # images whose questions gain by being asked together; 1 where nothing is gained
    codes: CodeSource  # its counters tell what a device held and what had to be sent

    def nearest(
        self,
        memory: Memory,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None = None,
        without: Sequence[int] = (),
    ) -> Neighbours:
        """Global retrieval: what `Memory.nearest_references` gives, wherever it is computed."""
        ...

    def best(self, memory: Memory, queries: torch.Tensor, rows: NDArray[np.int64], rho: int) -> NDArray[np.float32]:
        """The largest inner product of every query patch with its candidates (the maximum in S_l(t)).

        Takes what a `Question` holds; returns float32 (layers, cells).
        """
        ...

    def answers(self, memory: Memory, questions: Sequence[Question]) -> list[Answer]:
        """The answers to several images' questions, in order; each is what the image would be told alone."""
        ...


def one_by_one(engine: Engine, memory: Memory, questions: Sequence[Question]) -> list[Answer]:
    """`Engine.answers` of an engine that gains nothing from several questions at once."""
    answers = []
    for question in questions:
        similarities = engine.best(memory, question.patches, question.rows, question.rho)
        answers.append(Answer(similarities, question.weights @ (1.0 - similarities)))
    return answers
