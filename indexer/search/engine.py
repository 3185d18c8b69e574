"""What every patch search engine offers, so that any of them can be held against the same oracle."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import Memory


class Engine(Protocol):
    """Exact patch search over the retrieved references."""

    name: str

    def best(self, memory: Memory, queries: torch.Tensor, rows: NDArray[np.int64], rho: int) -> NDArray[np.float32]:
        """The largest inner product of every query patch with its candidates (the maximum in S_l(t)).

        queries: float32 (layers, cells, dim), unit vectors, on any device. rows: int64 (k,), k ≥ 1, rows of the memory,
        in any order. rho: the neighbourhood's Chebyshev radius in cells.
        Returns float32 (layers, cells).
        """
        ...
