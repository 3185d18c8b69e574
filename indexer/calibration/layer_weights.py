"""Layer weights that make every layer contribute equally to the distances between good parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.domain.geometry import Frame
from indexer.domain.scoring_settings import ScoringSettings
from indexer.scoring.scoring import roi_mask

_MIN_SHARE = 0.01  # of the largest layer's distances: below it, a layer's are taken to be so large


def layer_distances(distances: NDArray[np.float32], frame: Frame, settings: ScoringSettings) -> NDArray[np.float64]:
    """The mean of each layer's distances over the inspected cells: S_l(t) (references, layers, cells) → (layers,)."""
    if (inspected := roi_mask(settings, frame)) is not None:
        distances = distances[..., inspected.cells.ravel()]
    mean: NDArray[np.float64] = distances.mean(axis=(0, 2), dtype=np.float64)
    return mean


def weigh_layers(distances: NDArray[np.float64], settings: ScoringSettings) -> ScoringSettings:
    """The settings with weights of 1 over each layer's typical distance (layers,); see `LeaveOneOut.balance_layers`."""
    if distances.max() <= 0:
        return settings
    weights = 1.0 / np.maximum(distances, _MIN_SHARE * distances.max())
    return replace(settings, layer_weights=tuple(round(float(weight), 4) for weight in weights / weights.sum()))
