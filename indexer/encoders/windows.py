"""Encodes an image larger than one pass in overlapping windows, whose features are blended into one grid."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from indexer.encoders.base import Encoder, grid_of

_OVERLAP = 8  # cells that neighbouring windows share at least, unless they are that short
_HALO = 2  # cells at a window's border that are not used: a filter sees 24 pixels beyond a cell there
_CELLS_AT_ONCE = 4096  # cells of the windows that are encoded together, which bounds the working memory


@dataclass(frozen=True)
class _Window:
    """A window: its first row and column in the grid, and how much each of its rows and columns weighs."""

    row: int
    column: int
    rows: NDArray[np.float32]
    columns: NDArray[np.float32]


@torch.inference_mode()
def encode_in_windows(encoder: Encoder, image: torch.Tensor) -> torch.Tensor:
    """uint8 (3, H, W) → patches float32 (1, layers, cells, dim), of unit length, on the encoder's device.

    Every window has at most `encoder.max_pass_cells` cells. Windows overlap by a quarter of their length or 8 cells.
    Their weights fall linearly to 0 towards a border inside the image, so that features change gradually from one
    window to the next. Beside the features themselves, memory is taken for a few windows only.
    """
    patch = encoder.space.patch
    rows, columns = grid_of(image[None], patch)
    height, width = window_shape((rows, columns), encoder.max_pass_cells)
    windows = list(_windows((rows, columns), (height, width)))
    layers, dim = len(encoder.space.layers), encoder.space.dim
    total = torch.zeros((layers, rows, columns, dim), device=encoder.device)
    step = max(1, _CELLS_AT_ONCE // (height * width))
    for start in range(0, len(windows), step):
        batch = windows[start : start + step]
        pixels = [
            image[
                :,
                window.row * patch : (window.row + height) * patch,
                window.column * patch : (window.column + width) * patch,
            ]
            for window in batch
        ]
        patches = encoder.encode(torch.stack(pixels)).patches.view(len(batch), layers, height, width, dim)
        for index, window in enumerate(batch):
            weights = torch.from_numpy(np.outer(window.rows, window.columns)).to(encoder.device)[..., None]
            part = total[:, window.row : window.row + height, window.column : window.column + width]
            part.addcmul_(patches[index], weights.expand_as(patches[index]))
    return F.normalize(total.view(1, layers, rows * columns, dim), dim=-1)


def window_shape(grid: tuple[int, int], max_cells: int) -> tuple[int, int]:
    """(rows, columns) of the windows of a grid: nearly square where the grid allows it, at most `max_cells`."""
    side = math.isqrt(max_cells)
    if grid[0] <= grid[1]:
        rows = min(grid[0], side)
        return rows, min(grid[1], max_cells // rows)
    columns = min(grid[1], side)
    return min(grid[0], max_cells // columns), columns


def _windows(grid: tuple[int, int], shape: tuple[int, int]) -> Iterator[_Window]:
    down, across = (list(_along(count, length)) for count, length in zip(grid, shape, strict=True))
    for row, rows in down:
        for column, columns in across:
            yield _Window(row, column, rows, columns)


def _along(count: int, length: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Where windows of a length begin along `count` cells, evenly spaced, and how much each of their cells weighs."""
    overlap = min(max(_OVERLAP, length // 4), length - 1)
    pieces = 1 if length >= count else -(-(count - overlap) // (length - overlap))
    starts = [0] if pieces == 1 else np.linspace(0, count - length, pieces).round().astype(int).tolist()
    at = np.arange(length) + 0.5
    halo = min(_HALO, (overlap - 1) // 2)
    ramp = overlap - 2 * halo
    for start in starts:
        weights = np.ones(length)
        if start > 0:
            weights = np.minimum(weights, np.clip((at - halo) / ramp, 0, 1))
        if start + length < count:
            weights = np.minimum(weights, np.clip((length - at - halo) / ramp, 0, 1))
        yield start, weights.astype(np.float32)
