"""Leave-one-out search in a coreset: what each reference scores where its own patches stand for no others."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import MemoryBank
from indexer.memory.bank import CoresetRows
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells

_BLOCK_BYTES = 16 << 20  # decoded patches of one step
_STEP_PRODUCTS = 1 << 29  # of one step: no more than a detection
_NONE = -2.0  # below every inner product of unit vectors


@torch.inference_mode()
def coreset_similarities(
    memory: MemoryBank, coreset: CoresetRows, rows: NDArray[np.int64], groups: NDArray[np.int64], rho: int
) -> Generator[float, None, NDArray[np.float32]]:
    """The largest inner products of each reference's patches with a coreset made without it; yield the share done.

    rows: int64 (n,), of a category's references, by id. groups: int64 (n,), the smallest id of the references that show
    the same part. Returns float32 (n, layers, cells), as `LeaveOneOut.best`, of use for one reference of every group.

    A reference that owns a patch of the coreset is not compared with it. Those that it stands for would have another
    one then: the patch that the greedy choice would have taken next is put in its place. Without that a reference would
    score far higher than new images of good parts do (measured in docs/codecs.md).
    """
    work = _Work(memory, coreset, rows, groups, rho)
    steps = list(work.steps())
    for done, (layer, cells) in enumerate(steps):
        for share in work.search(layer, cells):
            yield (done + share) / len(steps)
    return work.result()


class _Work:
    """The search under way, some cells of the coreset after the other."""

    def __init__(
        self,
        memory: MemoryBank,
        coreset: CoresetRows,
        rows: NDArray[np.int64],
        groups: NDArray[np.int64],
        rho: int,
    ) -> None:
        self.memory, self.rows = memory, rows
        ids = memory.ids[rows]
        self.members = np.searchsorted(ids, coreset.references)  # their positions among the rows
        self.owners = self.members[coreset.owners]  # (patches, layers, cells), positions among the rows
        self.beside = np.flatnonzero(~np.isin(ids, coreset.references))
        self.groups = torch.from_numpy(groups)
        self.first = torch.from_numpy(np.searchsorted(ids, groups))  # the position of each one's group's first
        grid = memory.codes_table(int(rows[0])).grid
        self.neighbours = neighbour_cells(grid, rho)
        self.best = torch.full((len(memory.space.layers), grid[0] * grid[1], len(rows)), _NONE)

    def steps(self) -> Iterator[tuple[int, slice]]:
        """(layer, cells of the coreset) of each step."""
        layers, cells, references = self.best.shape
        values = references * self.memory.space.dim
        offered = len(self.owners) + len(self.beside)
        size = max(1, min(_BLOCK_BYTES // (4 * values), _STEP_PRODUCTS // (values * offered)))
        for layer in range(layers):
            for start in range(0, cells, size):
                yield layer, slice(start, min(start + size, cells))

    def search(self, layer: int, cells: slice) -> Iterator[float]:
        """Compare all references with what is stored in some cells of a layer."""
        patches = self._patches(layer, np.arange(cells.start, cells.stop))  # (cells, n, dim)
        owners = torch.from_numpy(self.owners[:, layer, cells].T.copy())  # (cells, patches)
        chosen = _at(patches, owners)
        substitutes, there = self._substitutes(patches, chosen, owners)
        beside = torch.from_numpy(self.beside)
        offered = torch.cat([chosen, patches[:, beside]], dim=1)
        groups = torch.cat([self.groups[owners], self.groups[beside].expand(len(owners), -1)], dim=1)
        own = self.groups[None, :, None] == groups[:, None, :]  # (cells, n, offered)
        asking = self.first[owners]  # (cells, patches): who is compared with the substitute
        table = self.neighbours[cells]  # symmetric: whose candidates these cells are
        for column in range(table.shape[1]):
            inside = np.flatnonzero(table[:, column] != OUTSIDE)
            if len(inside):
                at = torch.from_numpy(inside)
                queries = self._patches(layer, table[inside, column])
                products = torch.bmm(queries, offered[at].transpose(1, 2)).masked_fill_(own[at], _NONE)
                best = products.amax(dim=2)  # (inside, n)
                instead = (_at(queries, asking[at]) * substitutes[at]).sum(dim=-1)
                instead.masked_fill_(~there[at], _NONE)
                best.scatter_reduce_(1, asking[at], instead, "amax")
                cells_of = torch.from_numpy(table[inside, column].copy())[:, None].expand_as(best)
                self.best[layer].scatter_reduce_(0, cells_of, best, "amax")
            yield (column + 1) / table.shape[1]

    def result(self) -> NDArray[np.float32]:
        """The complete result."""
        best: NDArray[np.float32] = self.best.permute(2, 0, 1).contiguous().numpy()
        for index, row in enumerate(self.rows):
            shown = self.memory.codec.decode(self.memory.codes_of(int(row))[0]).any(dim=-1).numpy()  # (cells,)
            best[index][:, ~shown] = 1.0
        return best

    def _patches(self, layer: int, cells: NDArray[np.int64]) -> torch.Tensor:
        """The patches of all references in some cells of a layer, decoded: float32 (cells, n, dim)."""
        at = torch.from_numpy(np.ascontiguousarray(cells))
        codes = torch.stack([self.memory.codes_of(int(row))[layer].index_select(0, at) for row in self.rows], dim=1)
        return self.memory.codec.decode(codes)

    def _substitutes(
        self, patches: torch.Tensor, chosen: torch.Tensor, owners: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """For each patch of the coreset the next choice, float32 (cells, patches, dim); whether there is one.

        That is the reference of another group that is farthest from all other patches of the coreset.
        """
        members = torch.from_numpy(self.members)
        near = torch.bmm(patches[:, members], chosen.transpose(1, 2))  # (cells, members, patches)
        two = near.topk(min(2, near.shape[2]), dim=2)
        nearest, second = two.values[..., 0], two.values[..., -1]
        if near.shape[2] == 1:
            second = torch.full_like(nearest, _NONE)
        groups = self.groups[owners]  # (cells, patches)
        nearest_group = torch.gather(groups, 1, two.indices[..., 0])  # (cells, members)
        next_choice, there = torch.empty_like(owners), torch.empty_like(owners, dtype=torch.bool)
        for patch in range(owners.shape[1]):
            group = groups[:, patch, None]
            left = torch.where(nearest_group == group, second, nearest)
            left = left.masked_fill(self.groups[members] == group, -_NONE)
            farthest, member = left.min(dim=1)
            next_choice[:, patch], there[:, patch] = members[member], farthest < -_NONE
        return _at(patches, next_choice), there


def _at(patches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Patches (cells, n, dim) at positions (cells, k): (cells, k, dim)."""
    return torch.gather(patches, 1, positions[..., None].expand(*positions.shape, patches.shape[-1]))
