"""Explains a region: the nearest stored patch of its most anomalous cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from indexer.domain.geometry import InputGeometry
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.scoring.scoring import ScoringResult, layer_weights
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells


@dataclass(frozen=True)
class NearestPatch:
    """The nearest candidate, in the layer that contributed most to the score.

    cell: (row, column) of the stored patch. box: where that is in the reference's image, (x, y, width, height) in
    fractions of its width and height. distance: 1 − cosine, in [0, 2], to that patch in that layer.
    """

    reference_id: int
    cell: tuple[int, int]
    box: tuple[float, float, float, float]
    layer: str
    distance: float


def explain_region(
    memory: MemoryBank,
    features: Features,
    scored: ScoringResult,
    cell: tuple[int, int],
    settings: ScoringSettings,
) -> NearestPatch:
    """The nearest stored patch of one cell, in the layer that contributed most.

    features: one image's, as a batch of one. If the engine did not record the matches, the search is repeated for this
    cell: for the few peaks shown, that costs less than recording all.
    """
    columns = features.grid[1]
    query_cell = cell[0] * columns + cell[1]
    distances = scored.distances[:, query_cell]
    layer = int(np.argmax(layer_weights(settings, len(distances)) * distances))
    if scored.best_match is None:
        row, place = _nearest(memory, features.patches[0, layer, query_cell], scored, query_cell, layer, settings.rho)
    else:
        row, place = (int(table[layer, query_cell]) for table in (scored.best_match.rows, scored.best_match.cells))
    where = divmod(place, columns)
    box = _box(where, memory.geometry_of(memory.category_of(row)), memory.space.patch)
    return NearestPatch(
        memory.reference_at(row, layer, place), where, box, memory.space.layers[layer], float(distances[layer])
    )


def _box(cell: tuple[int, int], geometry: InputGeometry, patch: int) -> tuple[float, float, float, float]:
    """Where a cell lies in a reference that fits its category's geometry."""
    width, height = geometry.resized
    left, top, right, bottom = geometry.frame(patch).cell_box(cell)
    return left / width, top / height, (right - left) / width, (bottom - top) / height


def _nearest(
    memory: MemoryBank, query: torch.Tensor, scored: ScoringResult, query_cell: int, layer: int, rho: int
) -> tuple[int, int]:
    """The row and the cell of the stored patch nearest to one patch (dim,) of one layer."""
    table = neighbour_cells(scored.frame.grid, rho)[query_cell]
    candidates = torch.from_numpy(table[table != OUTSIDE])
    rows = scored.searched
    codes = torch.stack([memory.codes_of(int(row))[layer, candidates] for row in rows])  # (k, candidates, bytes)
    similarities = memory.codec.decode(codes) @ memory.codec.to_basis(query.to("cpu", torch.float32))  # (k, candidates)
    reference, candidate = np.unravel_index(int(similarities.argmax()), similarities.shape)
    return int(rows[reference]), int(candidates[candidate])
