"""Which grid cells are candidates for a cell: Chebyshev distance at most ρ, clipped at the border."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from indexer.domain.scoring_settings import ANYWHERE

OUTSIDE = -1


def covers(grid: tuple[int, int], rho: int) -> bool:
    """Whether every cell of a grid is a candidate for every other."""
    return rho >= min(max(grid) - 1, ANYWHERE)


@lru_cache(maxsize=64)
def neighbour_cells(grid: tuple[int, int], rho: int) -> NDArray[np.int64]:
    """int64 (cells, (2ρ+1)²): the neighbours of every cell, row-major, `OUTSIDE` where they leave the grid.

    The relation is symmetric, so the table also says which queries a stored cell answers to. If ρ reaches across the
    grid, all cells are neighbours: (cells, cells), one row of memory for all of them. ValueError if ρ < 0.
    """
    if rho < 0:
        raise ValueError("rho must be 0 or more")
    rows, columns = grid
    if covers(grid, rho):
        return np.broadcast_to(np.arange(rows * columns), (rows * columns, rows * columns))
    y, x = np.divmod(np.arange(rows * columns), columns)
    steps = np.arange(-rho, rho + 1)
    ny = y[:, None, None] + steps[None, :, None]  # (cells, 2ρ+1, 1)
    nx = x[:, None, None] + steps[None, None, :]  # (cells, 1, 2ρ+1)
    inside = (ny >= 0) & (ny < rows) & (nx >= 0) & (nx < columns)
    table = np.where(inside, ny * columns + nx, OUTSIDE).reshape(rows * columns, -1)
    table.setflags(write=False)
    return table
