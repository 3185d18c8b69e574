"""Computes the anomaly map and the score from an image's features (paper, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.errors import NoReferencesError
from indexer.domain.geometry import MAP_SIDE, Frame
from indexer.domain.scoring_settings import PAPER_SHARE, ScoringSettings
from indexer.encoders.base import Features
from indexer.imaging.roi import RoiMask, roi_cells
from indexer.memory import MemoryBank, RetrievedReferences
from indexer.search import BestMatch, PatchQuery, PatchSearchEngine, SearchCoroutine, run_batched

_PIXELS_PER_CELL = MAP_SIDE / 28  # of the paper's maps, which are smoothed with σ = 1
_KERNEL = 5  # pixels


def layer_weights(settings: ScoringSettings, layers: int) -> NDArray[np.float32]:
    """w as float32 (layers,), summing to 1. ValueError when a memory has another number of layers."""
    chosen = np.ones(layers) if settings.layer_weights is None else np.asarray(settings.layer_weights, np.float64)
    if len(chosen) != layers:
        raise ValueError(f"{len(chosen)} layer weights for {layers} layers")
    weights: NDArray[np.float32] = (chosen / chosen.sum()).astype(np.float32)
    return weights


def roi_mask(settings: ScoringSettings, frame: Frame) -> RoiMask | None:
    """The cells that are scored, None for all: those that show the image, inside the region of interest.

    NothingInspected when they are none of this frame.
    """
    return roi_cells(settings.region, frame)


@dataclass(frozen=True)
class ScoringResult:
    """The result of scoring one image against a memory.

    frame: its cells. score: the image score, in [0, 2] (a mean of 1 − cosine). map: float32, of `frame.map_shape`, the
    anomaly map over the window, 0 where nothing is inspected. distances: float32 (layers, cells), S_l(t) before fusing,
    of all cells. neighbours: the K retrieved references; searched: int64 (k,), the rows of the memory whose patches
    were. best_match: where each distance was found, by engines that keep it.
    """

    frame: Frame
    score: float
    map: NDArray[np.float32]
    distances: NDArray[np.float32]
    neighbours: RetrievedReferences
    searched: NDArray[np.int64]
    best_match: BestMatch | None = None


def score_image(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    features: Features,
    settings: ScoringSettings,
    category: str | None = None,
    exclude_rows: Sequence[int] = (),
    frame: Frame | None = None,
) -> ScoringResult:
    """Retrieve globally, search patches, fuse, draw the map and score it (paper, sections 3.2 and 3.3).

    features: one image's, as a batch of one. category: retrieve among its references only. exclude_rows: rows of the
    memory left out, for leave-one-out scores. frame: the image's cells; those of one that fits the category when None.
    NoReferencesError when nothing is left to compare with.
    """
    steps = score_steps(memory, engine, features, settings, category, exclude_rows, frame)
    [result] = run_batched(engine, memory, [steps])
    if isinstance(result, Exception):
        raise result
    return result


def score_steps(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    features: Features,
    settings: ScoringSettings,
    category: str | None = None,
    exclude_rows: Sequence[int] = (),
    frame: Frame | None = None,
) -> SearchCoroutine[ScoringResult]:
    """The coroutine behind `score_image`: yields its patch search, so that those of several images are batched."""
    if len(features.global_descriptors) != 1:
        raise ValueError("score one image at a time")
    frame = frame or memory.frame(category)
    if frame.grid != features.grid:
        raise ValueError(f"features of the grid {features.grid} in a frame of {frame.grid}")
    descriptor = features.global_descriptors[0].to("cpu", torch.float32).numpy()
    neighbours = engine.nearest_references(memory, descriptor, settings.k, category, exclude_rows, features.grid)
    if len(neighbours.rows) == 0:
        raise NoReferencesError("no references" if category is None else f"no references of {category!r}")
    weights = layer_weights(settings, len(memory.space.layers))
    searched = memory.searched_rows(category, neighbours.rows, features.grid, all_present=not exclude_rows)
    match = yield PatchQuery(features.patches[0], searched, settings.rho, weights)
    distances, fused = 1.0 - match.similarities, match.fused  # (layers, cells), (cells,)
    if (empty := features.without_image()) is not None:
        distances[:, empty] = 0.0
        fused = np.where(empty, np.float32(0.0), fused)
    score, anomaly_map = score_from_fused(fused, frame, settings)
    return ScoringResult(frame, score, anomaly_map, distances, neighbours, searched, match.best_match)


def score_from_distances(
    distances: NDArray[np.float32], frame: Frame, settings: ScoringSettings
) -> tuple[float, NDArray[np.float32]]:
    """S_l(t), float32 (layers, cells) → the image score and the map, from stored distances (paper, section 3.3)."""
    return score_from_fused(layer_weights(settings, len(distances)) @ distances, frame, settings)


def score_from_fused(
    fused: NDArray[np.float32], frame: Frame, settings: ScoringSettings
) -> tuple[float, NDArray[np.float32]]:
    """S(t), float32 (cells,) → the image score and the map (paper, section 3.3)."""
    anomaly_map, inspected = _inspected_map(fused, frame, settings)
    return image_score(inspected, settings.pooled_share), anomaly_map


def scores_by_share(
    fused: NDArray[np.float32], frame: Frame, settings: ScoringSettings, shares: Sequence[float]
) -> NDArray[np.float64]:
    """The image score of S(t), float32 (cells,), under each of these pooled shares: float64 (shares,)."""
    _, inspected = _inspected_map(fused, frame, settings)
    counts = np.array([max(1, int(share * inspected.size)) for share in shares])
    largest = np.sort(np.partition(inspected, -counts.max(), axis=None)[-counts.max() :])[::-1]
    means: NDArray[np.float64] = largest.cumsum(dtype=np.float64)[counts - 1] / counts
    return means


def _inspected_map(
    fused: NDArray[np.float32], frame: Frame, settings: ScoringSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The anomaly map of S(t), 0 where nothing is inspected, and its inspected pixels."""
    inspected = roi_mask(settings, frame)
    if inspected is None:
        anomaly_map = render_anomaly_map(fused.reshape(frame.grid), frame.map_shape)
        return anomaly_map, anomaly_map
    # An ignored cell shows its nearest inspected one while the map is drawn, so that nothing leaks across the border
    # of the region and no score is thinned out there.
    anomaly_map = render_anomaly_map(fused[inspected.source].reshape(frame.grid), frame.map_shape)
    pixels = inspected.pixels(anomaly_map.shape)
    anomaly_map[~pixels] = 0.0
    return anomaly_map, anomaly_map[pixels]


def rescale(scored: ScoringResult, scale: NDArray[np.float32], settings: ScoringSettings) -> ScoringResult:
    """A scored image with its distances multiplied by `scale`, float32 (layers, cells): their map and score."""
    distances = scored.distances * scale
    score, anomaly_map = score_from_distances(distances, scored.frame, settings)
    return replace(scored, score=score, map=anomaly_map, distances=distances)


def render_anomaly_map(grid: NDArray[np.float32], shape: tuple[int, int] = (MAP_SIDE, MAP_SIDE)) -> NDArray[np.float32]:
    """Fused cell scores (rows, columns) → a float32 map of this shape: bilinear interpolation, then a 5×5 Gaussian
    (paper, section 3.3).

    σ = 1 pixel, as published, for 256 × 256 pixels and where a cell has as many as in the paper, less where fewer.
    """
    full = cv2.resize(np.ascontiguousarray(grid, np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    paper = shape == (MAP_SIDE, MAP_SIDE)
    sigma = 1.0 if paper else min(1.0, shape[0] / grid.shape[0] / _PIXELS_PER_CELL)
    bell = cv2.getGaussianKernel(_KERNEL, sigma, cv2.CV_32F)
    smooth = cv2.sepFilter2D(full, -1, bell, bell, borderType=cv2.BORDER_CONSTANT)  # zero padding, as published
    return cast(NDArray[np.float32], smooth)


def image_score(anomaly_map: NDArray[np.float32], share: float = PAPER_SHARE) -> float:
    """The mean of the largest share of the map's pixels, at least of one: of its inspected ones, if some are not.

    The paper's 1 % are 655 pixels of 256².
    """
    count = max(1, int(share * anomaly_map.size))
    top = np.partition(anomaly_map, -count, axis=None)[-count:]
    return float(top.mean(dtype=np.float64))
