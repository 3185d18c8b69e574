"""Chooses the patches of a coreset: for each layer and cell those that leave no other far from its nearest."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.coreset import CoresetContent, CoresetTarget
from indexer.memory.bank import MemoryBank
from indexer.steps import shares_between

_BLOCK_BYTES = 16 << 20  # decoded patches of one step
_STEP_PRODUCTS = 1 << 29  # of one step: no more than a detection
_ROUNDING = 1e-6  # of a squared length that is computed from inner products


@dataclass(frozen=True)
class ChosenPatches:
    """The patches of a coreset, and how far they are from the others.

    radii: float32 (layers, cells), the longest difference between a patch and the nearest one chosen in its cell.
    """

    content: CoresetContent
    radii: NDArray[np.float32]


def choose_patches(memory: MemoryBank, category: str, target: CoresetTarget) -> Generator[float, None, ChosenPatches]:
    """Choose a coreset of a category's references; yield the share done. Returns the result.

    Greedy k-centre (Gonzalez 1985; the coreset of PatchCore): the patch nearest to the mean first, then always the one
    farthest from those chosen. No choice of as many patches has less than half its radius. As many in every layer and
    cell, so that a coreset is searched as so many references are. ValueError where there is nothing to save.
    """
    rows = memory.rows_of(category)
    rows = rows[np.argsort(memory.ids[rows])]
    grid = memory.frame(category).grid
    of_grid = np.array([memory.codes_table(int(row)).grid == grid for row in rows], np.bool_)
    if not of_grid.any():
        raise ValueError(f"{category} has no references")
    work = _Work(memory, rows[of_grid], grid)
    count = yield from shares_between(0.0, 0.5, work.count_for(target))
    if count >= len(work.rows):
        raise ValueError(_nothing_saved(category, target, len(work.rows)))
    return (yield from shares_between(0.0 if target.bound is None else 0.5, 1.0, work.choose(count)))


def covering_radii(memory: MemoryBank, category: str, coreset: CoresetContent) -> NDArray[np.float32]:
    """The radii of a coreset, as in `ChosenPatches`, from the codes of its references. ValueError if some are gone."""
    rows = memory.rows_of(category)
    rows = rows[np.argsort(memory.ids[rows])]
    rows = rows[np.isin(memory.ids[rows], coreset.references)]
    if len(rows) != len(coreset.references):
        raise ValueError(f"references that the coreset of {category!r} stands for are gone")
    return _Work(memory, rows, coreset.grid).radii(coreset.owners)


def _nothing_saved(category: str, target: CoresetTarget, references: int) -> str:
    if target.bound is None:
        return f"{category} has {references} references: such a share of them saves nothing"
    return f"a bound of {target.bound:g} needs all {references} references of {category}: allow a larger one"


class _Work:
    """The choice among the patches of some references, cells by cells."""

    def __init__(self, memory: MemoryBank, rows: NDArray[np.int64], grid: tuple[int, int]) -> None:
        self.memory, self.rows, self.grid = memory, rows, grid
        self.layers, self.cells = len(memory.space.layers), grid[0] * grid[1]

    def count_for(self, target: CoresetTarget) -> Generator[float, None, int]:
        """How many patches of each layer and cell the target means."""
        if target.share is not None:
            return max(1, math.ceil(target.share * len(self.rows)))
        assert target.bound is not None
        needed, steps = 1, list(self._steps(len(self.rows)))
        for done, (layer, cells) in enumerate(steps):
            within = target.bound**2 - _ROUNDING
            for _, number in _greedy(self._patches(layer, cells), len(self.rows), within):
                needed = max(needed, number)
            yield (done + 1) / len(steps)
        return needed

    def choose(self, count: int) -> Generator[float, None, ChosenPatches]:
        """So many patches of each layer and cell."""
        code_size = self.memory.codec.code_size
        owners = np.empty((count, self.layers, self.cells), np.int32)
        codes = np.empty((*owners.shape, code_size), np.uint8)
        radii = np.empty((self.layers, self.cells), np.float32)
        steps = list(self._steps(count))
        for done, (layer, cells) in enumerate(steps):
            stored = self._codes(layer, cells)
            patches = self.memory.codec.decode(stored)
            chosen = torch.stack([centre for centre, _ in _greedy(patches, count)], dim=1)  # (cells, count)
            owners[:, layer, cells] = chosen.T.numpy()
            picked = chosen[..., None].expand(*chosen.shape, code_size)
            codes[:, layer, cells] = torch.gather(stored, 1, picked).transpose(0, 1).numpy()
            radii[layer, cells] = _radii(patches, chosen).numpy()
            yield (done + 1) / len(steps)
        space, codec = self.memory.space, self.memory.codec
        ids = self.memory.ids[self.rows]
        return ChosenPatches(CoresetContent(space.fingerprint, codec.name, self.grid, ids, owners, codes), radii)

    def radii(self, owners: NDArray[np.int32]) -> NDArray[np.float32]:
        """How far the references' patches are from some of theirs, owners int32 (count, layers, cells)."""
        radii = np.empty((self.layers, self.cells), np.float32)
        for layer, cells in self._steps(len(owners)):
            chosen = torch.from_numpy(owners[:, layer, cells].T.astype(np.int64))
            radii[layer, cells] = _radii(self._patches(layer, cells), chosen).numpy()
        return radii

    def _codes(self, layer: int, cells: slice) -> torch.Tensor:
        """The codes of all references in some cells of a layer, uint8 (cells, n, code_size)."""
        return torch.stack([self.memory.codes_of(int(row))[layer, cells] for row in self.rows], dim=1)

    def _patches(self, layer: int, cells: slice) -> torch.Tensor:
        """The same, decoded: float32 (cells, n, dim)."""
        return self.memory.codec.decode(self._codes(layer, cells))

    def _steps(self, count: int) -> Iterator[tuple[int, slice]]:
        """(layer, cells) of each step."""
        values = max(1, len(self.rows)) * self.memory.space.dim
        size = max(1, min(_BLOCK_BYTES // (4 * values), _STEP_PRODUCTS // (values * count)))
        for layer in range(self.layers):
            for start in range(0, self.cells, size):
                yield layer, slice(start, min(start + size, self.cells))


def _greedy(patches: torch.Tensor, count: int, within: float = -1.0) -> Iterator[tuple[torch.Tensor, int]]:
    """Up to `count` patches of (cells, n, dim), each int64 (cells,), with how many they are by now.

    within: end once no squared distance to the nearest of them is larger.
    """
    squares = (patches * patches).sum(dim=-1)  # (cells, n)
    cells = torch.arange(len(patches))
    mean = patches.mean(dim=1, keepdim=True)
    chosen = (squares - 2 * (patches * mean).sum(dim=-1)).argmin(dim=1)
    nearest = torch.full_like(squares, math.inf)
    for number in range(1, count + 1):
        yield chosen, number
        centre = patches[cells, chosen]  # (cells, dim)
        products = torch.bmm(patches, centre[:, :, None])[..., 0]
        distances = squares + squares[cells, chosen][:, None] - 2 * products
        nearest = torch.minimum(nearest, distances)
        nearest[cells, chosen] = 0.0
        farthest, chosen = nearest.max(dim=1)
        if float(farthest.max()) <= within:
            return


def _radii(patches: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The longest difference between a patch of (cells, n, dim) and the nearest of those chosen (cells, count)."""
    centres = torch.gather(patches, 1, chosen[..., None].expand(*chosen.shape, patches.shape[-1]))
    squares = (centres * centres).sum(dim=-1)[:, None]
    nearest = (squares - 2 * patches @ centres.transpose(1, 2)).argmin(dim=-1)  # (cells, n)
    differences = patches - torch.gather(centres, 1, nearest[..., None].expand_as(patches))
    radii: torch.Tensor = torch.linalg.vector_norm(differences, dim=-1).amax(dim=1)
    return radii
