"""Statistics of one scored image that the verdict is decided on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.geometry import Frame
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.scoring.scoring import ScoringResult, layer_weights, roi_mask, score_from_distances

# Self-similarity of grey frames with a sensor's noise of two levels: 0.993 and more; of an all but empty board: 0.985.
_BLANK = 0.99
_SCENE = 0.4  # with a defect on a fifth of the cells, half of the others lie below this quantile of all


@dataclass(frozen=True)
class ImageStatistics:
    """Six statistics of one image compared with references; larger is less similar.

    score: the image score. peak: the largest pixel of the anomaly map. median: the median of the fused distances of the
    inspected cells, which a defect in one place hardly moves and another product moves much. global_distance: 1 − the
    inner product with the most similar reference's global descriptor. All in [0, 2]. self_similarity: similarity of the
    image's own patches to each other, 0 to 1: 1 for a blank frame, which may match an empty background well.
    scene_distance: the 40th percentile of the fused distances of the inspected cells. A defect on up to a fifth of
    them cannot raise it above the median of the others; a changed scene does. 0 in results of an earlier release.
    """

    score: float
    peak: float
    median: float
    global_distance: float
    self_similarity: float
    scene_distance: float = 0.0

    @property
    def is_blank(self) -> bool:
        """Whether the image is blank: all its patches are alike."""
        return self.self_similarity >= _BLANK

    @classmethod
    def from_scoring(cls, scored: ScoringResult, features: Features, settings: ScoringSettings) -> ImageStatistics:
        """Of an image that was scored; its features as a batch of one."""
        similarity = float(scored.neighbours.similarities[0])
        return cls(
            scored.score,
            float(scored.map.max()),
            _median(scored.distances, scored.frame, settings),
            _global_distance(similarity),
            _self_similarity(features, scored.frame, settings),
            _scene_distance(scored.distances, scored.frame, settings),
        )


def from_distances(
    distances: NDArray[np.float32],
    similarity: float,
    features: Features,
    frame: Frame,
    settings: ScoringSettings,
) -> ImageStatistics:
    """From S_l(t), float32 (layers, cells), the similarity of the most similar reference, and the features."""
    score, anomaly_map = score_from_distances(distances, frame, settings)
    return ImageStatistics(
        score,
        float(anomaly_map.max()),
        _median(distances, frame, settings),
        _global_distance(similarity),
        _self_similarity(features, frame, settings),
        _scene_distance(distances, frame, settings),
    )


def with_distances(
    statistics: ImageStatistics, distances: NDArray[np.float32], frame: Frame, settings: ScoringSettings
) -> ImageStatistics:
    """The same image's statistics with other patch distances, float32 (layers, cells)."""
    score, anomaly_map = score_from_distances(distances, frame, settings)
    return replace(
        statistics,
        score=score,
        peak=float(anomaly_map.max()),
        median=_median(distances, frame, settings),
        scene_distance=_scene_distance(distances, frame, settings),
    )


def mean_distance(distances: NDArray[np.float32], frame: Frame, settings: ScoringSettings) -> float:
    """The mean of the fused distances of the inspected cells, by which categories are compared.

    distances: S_l(t), float32 (layers, cells). The median does not separate categories whose images are half empty,
    such as boards: it is 0 for all of them.
    """
    return float(_fused(distances, frame, settings).mean())


def _global_distance(similarity: float) -> float:
    return max(0.0, 1.0 - similarity)  # two unit vectors' product can round to a little above 1


def _median(distances: NDArray[np.float32], frame: Frame, settings: ScoringSettings) -> float:
    return float(np.median(_fused(distances, frame, settings)))


def _scene_distance(distances: NDArray[np.float32], frame: Frame, settings: ScoringSettings) -> float:
    return float(np.quantile(_fused(distances, frame, settings), _SCENE))


def _fused(distances: NDArray[np.float32], frame: Frame, settings: ScoringSettings) -> NDArray[np.float32]:
    """S(t) of the inspected cells."""
    fused: NDArray[np.float32] = layer_weights(settings, len(distances)) @ distances  # (cells,)
    inspected = roi_mask(settings, frame)
    return fused if inspected is None else fused[inspected.cells.ravel()]


def _self_similarity(features: Features, frame: Frame, settings: ScoringSettings) -> float:
    """The mean inner product between two of the image's inspected patches, in the layer where they are most alike.

    A network layer encodes positions, so that even patches of a blank frame differ in it.
    """
    patches = features.patches[0]  # (layers, cells, dim)
    inspected = roi_mask(settings, frame)
    if inspected is not None:
        patches = patches[:, torch.from_numpy(inspected.cells.ravel()).to(patches.device)]
    return float(patches.to(torch.float32).mean(dim=1).square().sum(dim=-1).amax())
