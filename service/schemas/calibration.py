"""Where a category's threshold stands, what it rests on, and whether production still is like that."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from indexer.domain.drift import DriftState
from service.schemas.base import ResponseModel


class UnfamiliarView(ResponseModel):
    """State of a category's threshold for `unfamiliar`."""

    threshold: float | None = Field(description="Null with fewer than 8 references.")
    rate_supported: bool = Field(description="Whether there are enough references to guarantee `unfamiliar_rate`.")
    references_needed: int


class CalibrationView(ResponseModel):
    """State of a category's calibration and threshold."""

    state: Literal["ready", "pending", "none"] = Field(
        description="pending: leave-one-out scores are being computed; none: fewer than two references."
    )
    progress: float = Field(description="Progress of the computation, 0 to 1.")
    threshold: float | None = Field(
        None, description="While `rate_supported` is false, the highest leave-one-out score."
    )
    region_threshold: float | None = Field(None, description="Pixels of the anomaly map above this value form regions.")
    references: int = Field(description="Number of leave-one-out scores that the threshold is computed from.")
    references_needed: int = Field(description="Number of references that the false-reject rate needs.")
    rate_supported: bool = Field(description="Whether there are enough references to guarantee `false_reject_rate`.")
    smallest_rate: float | None = Field(
        None, description="The smallest `false_reject_rate` that the scores support; null without any."
    )
    advice: str | None = Field(None, description="What to do while every verdict is `uncalibrated`.")
    duplicates: int = Field(description="Near-duplicates of other references, which do not count.")
    unfamiliar: UnfamiliarView
    layer_weights: tuple[float, ...] | None = Field(
        None, description="Layer weights used for scoring, summing to 1; null while layers are weighted equally."
    )
    version: int | None = None


class MartingaleView(ResponseModel):
    """A betting strategy against p-values that are uniform."""

    p_values: tuple[int, ...] = Field(description="Inspections by p-value, in ten bins from 0 to 1; even when steady.")
    evidence: float = Field(description="Betting capital against `steady`, 1 at the start.")
    max_evidence: float = Field(description="The most the evidence has been.")


class DriftView(ResponseModel):
    """Whether production is still like the references: tests on the p-values of inspections."""

    state: DriftState = Field(
        description="drifting: the scene has changed, images as a whole differ more from the references; defects: many "
        "parts are anomalous in places, in a scene as before."
    )
    inspections: int = Field(description="Since the tests began, with this calibration.")
    scores: MartingaleView = Field(description="Of the p-values of scores, which decides `defects`.")
    scene: MartingaleView = Field(description="Of those of images as a whole, which decides `drifting`.")
    alarm: float = Field(description="At this evidence a flag is raised.")
    since: datetime
    flagged_at: datetime | None


class AlignmentView(ResponseModel):
    """Whether the parts of a category lie in the same place in all images."""

    references: int = Field(description="How many were compared with each other; 0 where it cannot be said.")
    distance_left: float | None = Field(
        description="What is left of the distance between good parts when their patches are compared with those of all "
        "places and not of the same one: near 1, parts lie alike; near 0, anywhere. Null with fewer than 4 "
        "references, and for grids of more than 4,096 cells."
    )
    distance_in_place: float | None = Field(
        description="The distance between good parts in the same place as a share of that between any two places, 0 to "
        "1: near 0, references show the same in the same place. Null where `distance_left` is."
    )
    advice: str | None = Field(description="What to do about `rho`; null if nothing.")


class ScoresResponse(ResponseModel):
    """Leave-one-out scores of a category's references. version: the snapshot they were computed on."""

    version: int | None
    scores: tuple[float, ...]
    references: tuple[int, ...] = Field(description="The reference that has each score, in the same order.")
    rates: tuple[float, ...] = Field(
        description="False-reject rates at which the highest score, the second highest … is the threshold."
    )
    rate_index: int | None = Field(
        description="Index of the rate that gives the category's own decisions; null without any."
    )
