"""Categories and how they are inspected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from touchstone_client.answers.calibration import Calibration, Drift
from touchstone_client.answers.encoding import BitDepth
from touchstone_client.answers.references import FindingKind


@dataclass(frozen=True)
class RegionOfInterest:
    """Where pictures are inspected: polygons of (x, y) in fractions of width and height, or a mask picture."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    mask: bool


@dataclass(frozen=True)
class CategorySettings:
    """How a category is inspected. refuse: findings for which new references are refused.

    bit_depth: how many bits files of 16 a channel use.
    """

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float | None = None
    region_of_interest: RegionOfInterest | None = None
    refuse: tuple[FindingKind, ...] = ()
    bit_depth: BitDepth | None = None


@dataclass(frozen=True)
class Category:
    """A product."""

    name: str
    references: int
    created: datetime
    settings: CategorySettings
    calibration: Calibration
    drift: Drift | None = None


@dataclass(frozen=True)
class CategoriesAnswer:
    """All categories by name."""

    categories: tuple[Category, ...]
