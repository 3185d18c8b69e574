"""The hyperparameters of scoring: K, ρ, layer weights, region of interest."""

from __future__ import annotations

import math
from dataclasses import dataclass

from indexer.domain.roi import RegionOfInterest

PAPER_SHARE = 0.01  # section 3.3
ANYWHERE = 255  # the ρ at which a patch is compared with those of all places, whatever the grid
MAX_CELLS_ANYWHERE = 4096  # 3 × 10¹¹ operations an image with 150 references of 64 values a patch, in each layer
_MAX_RADIUS = 16  # beyond it tables of neighbours take more memory than references


@dataclass(frozen=True)
class ScoringSettings:
    """K, ρ and the layer weights w of the paper; weights are ≥ 0, scaled to sum 1, uniform when None.

    rho: cells; `ANYWHERE`: a patch is compared with those of all places. region: what of the image scores; None is all
    of it, as in the paper. pooled_share: of the map's pixels, the largest of which the score is the mean, in (0, 1].
    """

    k: int = 150
    rho: int = 1
    layer_weights: tuple[float, ...] | None = None
    region: RegionOfInterest | None = None
    pooled_share: float = PAPER_SHARE

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("k must be 1 or more")
        if self.rho < 0:
            raise ValueError("rho must be 0 or more")
        if not 0 < self.pooled_share <= 1:
            raise ValueError("pooled_share must be more than 0 and at most 1")
        weights = self.layer_weights
        if weights is not None and not (all(weight >= 0 for weight in weights) and 0 < sum(weights) < math.inf):
            raise ValueError("layer_weights must be 0 or more, and not all 0, with a finite sum")


def check_radius(rho: int, grid: tuple[int, int]) -> None:
    """ValueError, a sentence, when patches of a grid (rows, columns) are not to be compared within this radius."""
    if rho <= _MAX_RADIUS:
        return
    if rho != ANYWHERE:
        raise ValueError(f"rho: give 0 to {_MAX_RADIUS}, or {ANYWHERE} for parts that may lie anywhere.")
    if (cells := grid[0] * grid[1]) > MAX_CELLS_ANYWHERE:
        raise ValueError(
            f"rho: parts may lie anywhere ({ANYWHERE}) in grids of at most {MAX_CELLS_ANYWHERE} cells; here there are "
            f"{cells}."
        )
