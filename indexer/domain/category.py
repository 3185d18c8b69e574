"""Categories, each with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from indexer.domain.bit_depth import BIT_DEPTHS, BitDepth
from indexer.domain.finding import FINDING_KINDS, FindingKind
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.verdict import DecisionSettings

MAX_DEFECT_CLASSES = 50


@dataclass(frozen=True)
class CategorySettings:
    """How one category is inspected. ValueError when a value is out of range.

    k: retrieved references, ≥ 1. rho: neighbourhood radius in grid cells, ≥ 0. layer_weights: one weight ≥ 0 per layer,
    not all zero; None = as the references say, see `LeaveOneOut.balance_layers`. false_reject_rate: share of good parts
    that may be rejected, in (0, 1). threshold: manual score threshold ≥ 0 that overrides calibration; None =
    calibrated. unfamiliar_rate: share of good parts that may be called unfamiliar, in (0, 1). region_of_interest: what
    of the image scores; None = all of it. refuse: findings for which a new reference is refused rather than reported.
    bit_depth: how many bits files of 16 a channel use, from the lowest; None = not decided, read as 16.
    pooled_share: of the anomaly map's pixels, the largest of which an image's score is the mean, in (0, 1].
    defect_classes: names that a confirmed defect may be given, at most 50, each once.
    review_band: parts wait for review whose score differs from the threshold by at most this share of it, 0 to 1.
    review_feedback: an operator's `good` waits for review, instead of making a reference at once.
    """

    k: int = ScoringSettings.k
    rho: int = ScoringSettings.rho
    layer_weights: tuple[float, ...] | None = None
    false_reject_rate: float = DecisionSettings.false_reject_rate
    threshold: float | None = None
    unfamiliar_rate: float = DecisionSettings.unfamiliar_rate
    region_of_interest: RegionOfInterest | None = None
    refuse: tuple[FindingKind, ...] = ()
    bit_depth: BitDepth | None = None
    pooled_share: float = ScoringSettings.pooled_share
    defect_classes: tuple[str, ...] = ()
    review_band: float = 0.05
    review_feedback: bool = True

    def __post_init__(self) -> None:
        _ = self.scoring, self.decision  # these check their own values
        if not set(self.refuse) <= set(FINDING_KINDS):
            raise ValueError(f"refuse names findings: {', '.join(FINDING_KINDS)}")
        if len(set(self.defect_classes)) < len(self.defect_classes) or len(self.defect_classes) > MAX_DEFECT_CLASSES:
            raise ValueError(f"defect_classes are at most {MAX_DEFECT_CLASSES}, each named once")
        if not 0 <= self.review_band <= 1:
            raise ValueError("review_band must lie between 0 and 1")
        if self.bit_depth not in (None, *BIT_DEPTHS):
            raise ValueError(f"bit_depth is one of {', '.join(map(str, BIT_DEPTHS))}")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> CategorySettings:
        """From what the catalogue keeps; settings that an older version did not know have their defaults."""
        values = dict(stored)
        if values.get("layer_weights") is not None:
            values["layer_weights"] = tuple(values["layer_weights"])
        if (region := values.get("region_of_interest")) is not None:
            values["region_of_interest"] = RegionOfInterest.from_json(region)
        for name in ("refuse", "defect_classes"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    @property
    def scoring(self) -> ScoringSettings:
        """The part of the settings that scores depend on."""
        region = self.region_of_interest
        return ScoringSettings(self.k, self.rho, self.layer_weights, region, self.pooled_share)

    @property
    def decision(self) -> DecisionSettings:
        """The part of the settings that verdicts depend on, once a score is known."""
        return DecisionSettings(self.false_reject_rate, self.unfamiliar_rate, self.threshold)


class SettingsChanges(TypedDict, total=False):
    """Some of the category settings, to be changed together; what is left out stays."""

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float
    region_of_interest: RegionOfInterest | None
    refuse: tuple[FindingKind, ...]
    bit_depth: BitDepth | None
    pooled_share: float
    defect_classes: tuple[str, ...]
    review_band: float
    review_feedback: bool


@dataclass(frozen=True)
class Category:
    """A category. references: how many live ones it has."""

    name: str
    settings: CategorySettings
    created_at: datetime
    references: int


@dataclass(frozen=True)
class RemovedCategory:
    """A category that was removed and can be restored. references: how many of those removed with it can be, too."""

    name: str
    removed_at: datetime
    references: int
