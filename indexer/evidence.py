"""Why a region is anomalous: the stored patch that the region's worst patch came nearest to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders.base import Features
from indexer.memory import Memory
from indexer.scoring import ScoringSettings
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells


@dataclass(frozen=True)
class Evidence:
    """The nearest candidate, in the layer that contributed most to the score.

    cell: (row, column) of the stored patch. distance: 1 − cosine, in [0, 2], to that patch in that layer.
    """

    reference_id: int
    cell: tuple[int, int]
    layer: str
    distance: float


def explain(
    memory: Memory,
    features: Features,
    rows: NDArray[np.int64],
    cell: tuple[int, int],
    settings: ScoringSettings,
) -> Evidence:
    """Repeat the search for one cell, keeping track of who was nearest.

    features: one image's, as a batch of one. rows: the retrieved references it was scored with. The engines return
    maxima only; looking up the few peaks that are shown costs less than carrying an argmax for every cell.
    """
    columns = memory.space.grid[1]
    query_cell = cell[0] * columns + cell[1]
    table = neighbour_cells(memory.space.grid, settings.rho)[query_cell]
    candidates = torch.from_numpy(table[table != OUTSIDE])
    codes = torch.stack([memory.codes_of(int(row))[:, candidates] for row in rows])  # (k, layers, candidates, bytes)
    queries = features.patches[0, :, query_cell].to("cpu", torch.float32)  # (layers, dim)
    similarities = torch.einsum("klcd,ld->lkc", memory.codec.decode(codes), queries)  # (layers, k, candidates)
    distances = 1.0 - similarities.flatten(1).amax(dim=1).numpy()  # (layers,)
    layer = int(np.argmax(settings.weights(len(distances)) * distances))
    reference, candidate = np.unravel_index(int(similarities[layer].argmax()), similarities.shape[1:])
    where = divmod(int(candidates[candidate]), columns)
    return Evidence(int(memory.ids[rows[reference]]), where, memory.space.layers[layer], float(distances[layer]))
