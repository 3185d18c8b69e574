"""Why a region is anomalous: the stored patch that the region's worst patch came nearest to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features, FeatureSpace
from indexer.memory import MemoryBank
from indexer.scoring.scoring import ScoringResult, layer_weights
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells


@dataclass(frozen=True)
class NearestPatch:
    """The nearest candidate, in the layer that contributed most to the score.

    cell: (row, column) of the stored patch. box: where that is in the reference's picture, (x, y, width, height) in
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
    """Who was nearest to one cell, in the layer that counted most there.

    features: one image's, as a batch of one, and what it scored. Where the engine did not keep who was nearest, the
    search is repeated for this cell: for the few peaks that are shown, that costs less than keeping it for all.
    """
    columns = memory.space.grid[1]
    query_cell = cell[0] * columns + cell[1]
    distances = scored.distances[:, query_cell]
    layer = int(np.argmax(layer_weights(settings, len(distances)) * distances))
    if scored.best_match is None:
        row, place = _nearest(memory, features.patches[0, layer, query_cell], scored, query_cell, layer, settings.rho)
    else:
        row, place = (int(table[layer, query_cell]) for table in (scored.best_match.rows, scored.best_match.cells))
    where = divmod(place, columns)
    return NearestPatch(
        int(memory.ids[row]), where, _box(where, memory.space), memory.space.layers[layer], float(distances[layer])
    )


def _box(cell: tuple[int, int], space: FeatureSpace) -> tuple[float, float, float, float]:
    rows, columns = space.grid
    across, down = space.geometry.crop / columns, space.geometry.crop / rows
    corners = np.array([[cell[1] * across, cell[0] * down], [(cell[1] + 1) * across, (cell[0] + 1) * down]])
    (left, top), (right, bottom) = space.geometry.to_original(corners, (1, 1)).tolist()
    return left, top, right - left, bottom - top


def _nearest(
    memory: MemoryBank, query: torch.Tensor, scored: ScoringResult, query_cell: int, layer: int, rho: int
) -> tuple[int, int]:
    """The row and the cell of the stored patch nearest to one patch (dim,) of one layer."""
    table = neighbour_cells(memory.space.grid, rho)[query_cell]
    candidates = torch.from_numpy(table[table != OUTSIDE])
    rows = scored.neighbours.rows
    codes = torch.stack([memory.codes_of(int(row))[layer, candidates] for row in rows])  # (k, candidates, bytes)
    similarities = memory.codec.decode(codes) @ query.to("cpu", torch.float32)  # (k, candidates)
    reference, candidate = np.unravel_index(int(similarities.argmax()), similarities.shape)
    return int(rows[reference]), int(candidates[candidate])
