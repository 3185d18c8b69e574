"""The scorings that are tried on a labelled test set, and the scores that one image gets by each of them."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.errors import NoReferencesError
from indexer.domain.geometry import Frame
from indexer.domain.json_types import JsonObject, JsonValue
from indexer.domain.scoring_settings import ANYWHERE, ScoringSettings
from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.scoring.scoring import scores_by_share
from indexer.search import PatchSearchEngine, best_similarities

_KS = (10, 30, 100)
_RHOS = (0, 1, 2)
_MAX_CELLS_ANYWHERE = 1024  # above them, comparing every cell with every other takes too long to be tried
_SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


@dataclass(frozen=True)
class LayerWeights:
    """Weights of layers. setting: as a category has them, None for those of its references; values: those meant."""

    setting: tuple[float, ...] | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Candidate:
    """One scoring. changes: the settings in which it differs from the present one."""

    k: int
    rho: int
    weights: LayerWeights
    share: float
    changes: JsonObject


@dataclass(frozen=True)
class CandidateGrid:
    """Every combination of these values; the first of each is the present one.

    A K of all references or more is the same as any larger one.
    """

    ks: tuple[int, ...]
    rhos: tuple[int, ...]
    weights: tuple[LayerWeights, ...]
    shares: tuple[float, ...]

    @classmethod
    def around(cls, present: ScoringSettings, balanced: Sequence[float], references: int, cells: int) -> CandidateGrid:
        """What is tried beside the present settings.

        balanced: the layers' weights that the references say. Beside the present ones: all layers alike, each layer at
        twice its weight, left out, or alone. cells: of the grid.
        """
        ks = [present.k, *(k for k in _KS if k < references and k != present.k)]
        radii = (*_RHOS, ANYWHERE) if cells <= _MAX_CELLS_ANYWHERE else _RHOS
        rhos = [present.rho, *(rho for rho in radii if rho != present.rho)]
        shares = [present.pooled_share, *(share for share in _SHARES if share != present.pooled_share)]
        return cls(tuple(ks), tuple(rhos), _layer_weights(present.layer_weights, balanced), tuple(shares))

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """In the order of scores: by K, ρ, weights and share; the first is the present scoring."""
        return tuple(
            Candidate(k, rho, weights, share, self._changes(k, rho, weights, share))
            for k, rho, weights, share in itertools.product(self.ks, self.rhos, self.weights, self.shares)
        )

    def _changes(self, k: int, rho: int, weights: LayerWeights, share: float) -> JsonObject:
        changes: dict[str, JsonValue] = {}
        if k != self.ks[0]:
            changes["k"] = k
        if rho != self.rhos[0]:
            changes["rho"] = rho
        if weights != self.weights[0]:
            changes["layer_weights"] = None if weights.setting is None else list(weights.setting)
        if share != self.shares[0]:
            changes["pooled_share"] = share
        return changes


def score_candidates(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    features: Features,
    category: str,
    frame: Frame,
    settings: ScoringSettings,
    grid: CandidateGrid,
    scale: NDArray[np.float32] | None,
) -> Generator[float, None, NDArray[np.float32]]:
    """One image's score by every candidate, float32 (candidates,); yields the share done.

    features: of the image, a batch of one. settings: of the category, for its region of interest. scale: float32
    (layers, cells), by which distances of images that are stored like it are multiplied. Each radius is searched once
    in as many references as the largest K takes: those of a smaller K come first; or in a coreset, whatever K is.
    Between two yields lies at most the work of one detection.
    """
    descriptor = features.global_descriptors[0].to("cpu", torch.float32).numpy()
    rows = engine.nearest_references(memory, descriptor, max(grid.ks), category, (), features.grid).rows
    ks = np.array(grid.ks)
    if memory.searched_coreset(category, features.grid) is not None:
        rows = memory.searched_rows(category, rows, features.grid)
        ks = np.full(len(ks), len(rows))
    scores = np.empty((len(grid.ks), len(grid.rhos), len(grid.weights), len(grid.shares)), np.float32)
    steps, done = 2 * len(grid.rhos) * len(grid.ks), 0
    for rho_index, rho in enumerate(grid.rhos):
        best: NDArray[np.float32] | None = None
        searched = 0
        for k_index in np.argsort(ks):
            more = rows[searched : ks[k_index]]
            if len(more):
                similar = best_similarities(engine, memory, features, more, rho)
                best = similar if best is None else np.maximum(best, similar)
                searched += len(more)
            done += 1
            yield done / steps
            if best is None:
                raise NoReferencesError(f"no references of {category!r}")
            distances = (1.0 - best) if scale is None else (1.0 - best) * scale
            for weights_index, weights in enumerate(grid.weights):
                fused = np.asarray(weights.values, np.float32) @ distances
                scores[k_index, rho_index, weights_index] = scores_by_share(fused, frame, settings, grid.shares)
            done += 1
            yield done / steps
    return scores.ravel()


def _layer_weights(setting: tuple[float, ...] | None, balanced: Sequence[float]) -> tuple[LayerWeights, ...]:
    """The present weights first, and others, none of them twice."""
    present = np.asarray(balanced if setting is None else setting, np.float64)
    one = np.eye(len(present))
    tried = [np.ones(len(present)), *present * (1 + one), *present * (1 - one), *one]
    rounded = {_rounded(weights): None for weights in tried if weights.any()}
    first = LayerWeights(setting, _rounded(present))
    others = [] if setting is None else [LayerWeights(None, _rounded(np.asarray(balanced)))]
    known = {weights.values for weights in (first, *others)}
    return (first, *others, *(LayerWeights(values, values) for values in rounded if values not in known))


def _rounded(weights: NDArray[np.float64]) -> tuple[float, ...]:
    """Scaled to sum 1, as few digits as calibrated weights have."""
    return tuple(round(float(weight), 4) for weight in weights / weights.sum())
