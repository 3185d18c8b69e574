"""The oracle of patch search: the method in plain, slow NumPy, which every engine must equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def best_similarities(
    queries: NDArray[np.float32], stored: NDArray[np.float32], grid: tuple[int, int], rho: int
) -> NDArray[np.float64]:
    """queries (layers, cells, dim), stored (k, layers, cells, dim) → the best inner product (layers, cells)."""
    layers = queries.shape[0]
    rows, columns = grid
    best = np.full((layers, rows * columns), -np.inf)
    for layer in range(layers):
        for y in range(rows):
            for x in range(columns):
                query = queries[layer, y * columns + x].astype(np.float64)
                for ny in range(max(0, y - rho), min(rows, y + rho + 1)):
                    for nx in range(max(0, x - rho), min(columns, x + rho + 1)):
                        candidates = stored[:, layer, ny * columns + nx].astype(np.float64)
                        best[layer, y * columns + x] = max(best[layer, y * columns + x], (candidates @ query).max())
    return best


def top_references(query: NDArray[np.float32], descriptors: NDArray[np.float32], k: int) -> list[int]:
    """The k rows of descriptors (n, dim) most similar to query (dim,), best first, ties by row."""
    similarities = descriptors.astype(np.float32) @ query.astype(np.float32)
    return sorted(range(len(descriptors)), key=lambda row: (-similarities[row], row))[:k]
