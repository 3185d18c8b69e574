"""What a verdict looks at in one scored picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.encoders.base import FeatureSpace
from indexer.scoring import ScoringSettings, score_cells


@dataclass(frozen=True)
class Measures:
    """Four numbers of one picture held against references, each larger the less the picture is like them.

    score: the image score. peak: the largest pixel of the anomaly map. median: the median of the fused distances of
    the inspected cells, which a defect in one place hardly moves and another product moves much. remoteness: 1 − the
    inner product with the most similar reference's global descriptor. All in [0, 2].
    """

    score: float
    peak: float
    median: float
    remoteness: float


def measure(
    distances: NDArray[np.float32], similarity: float, space: FeatureSpace, settings: ScoringSettings
) -> Measures:
    """From S_l(t), float32 (layers, cells), and the similarity of the most similar reference."""
    score, anomaly_map = score_cells(distances, space, settings)
    return Measures(score, float(anomaly_map.max()), median_distance(distances, space, settings), 1.0 - similarity)


def median_distance(distances: NDArray[np.float32], space: FeatureSpace, settings: ScoringSettings) -> float:
    """The median over the inspected cells of the fused S(t)."""
    fused = settings.weights(len(distances)) @ distances  # (cells,)
    inspected = settings.inspected(space)
    return float(np.median(fused if inspected is None else fused[inspected.cells.ravel()]))
