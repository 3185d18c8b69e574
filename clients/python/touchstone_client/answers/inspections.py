"""Inspections, as the history keeps them and as they add up over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from touchstone_client.answers.encoding import Encoding, Notice

Verdict = Literal["normal", "anomalous", "unfamiliar", "uncalibrated"]
Judgement = Literal["good", "defect"]


@dataclass(frozen=True)
class Evidence:
    """The stored patch that a region's worst patch came nearest to. cell: (row, column). distance: 1 − cosine.

    box: where that is in the reference's picture: x, y, width, height in fractions of its width and height.
    """

    reference_id: int
    cell: tuple[int, int]
    layer: str
    distance: float
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Region:
    """A region above the threshold, in pixels of the picture as sent. box: x, y, width, height."""

    box: tuple[float, float, float, float]
    area: float
    peak: float
    centroid: tuple[float, float]
    polygon: tuple[tuple[float, float], ...]
    evidence: Evidence


@dataclass(frozen=True)
class Neighbour:
    """One of the most similar references. similarity: −1 to 1."""

    reference_id: int
    category: str
    similarity: float


@dataclass(frozen=True)
class Familiarity:
    """How like anything referenced a picture is. Beyond `level` the verdict is `unfamiliar`.

    statistic: spreads beyond the references' usual. level: None with fewer than 8 references. p_value: the statistic's
    rank. median_distance: of the patches. similarity: of the most similar reference, −1 to 1. uniformity: how alike
    the picture's own patches are, 1 of a frame that shows nothing.
    """

    statistic: float | None
    level: float | None
    p_value: float | None
    median_distance: float
    similarity: float
    uniformity: float


@dataclass(frozen=True)
class BetterCategory:
    """Another category that a picture fits better than the one asked for. score, p_value: had that one been asked."""

    category: str
    similarity: float
    own_similarity: float
    mean_distance: float
    own_mean_distance: float
    score: float
    p_value: float | None


@dataclass(frozen=True)
class Timings:
    """Milliseconds."""

    queue_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float


@dataclass(frozen=True)
class Inspection:
    """One inspected picture. score: raw, higher is more anomalous. version: of the memory it was computed on."""

    id: str
    at: datetime
    filename: str
    category: str | None
    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int
    width: int
    height: int
    timings: Timings
    part_id: str | None = None
    station: str | None = None
    regions: tuple[Region, ...] = ()
    references: tuple[Neighbour, ...] = ()
    familiarity: Familiarity | None = None
    better_category: BetterCategory | None = None
    judgement: Judgement | None = None
    judged_at: datetime | None = None
    promoted_reference_id: int | None = None
    picture: Literal["whole", "thumbnail", "none"] = "none"
    encoding: Encoding | None = None
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class InspectionPage:
    """Some inspections, newest first; next_cursor continues."""

    inspections: tuple[Inspection, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class TrendPoint:
    """The inspections of one stretch of time from `at` on. threshold: the highest one they were held against."""

    at: datetime
    count: int
    mean: float
    highest: float
    threshold: float | None
    verdicts: Mapping[Verdict, int]


@dataclass(frozen=True)
class Trend:
    """Inspections over time, oldest first; stretches without any are left out."""

    total: int
    first: datetime | None
    last: datetime | None
    stretch_seconds: float
    points: tuple[TrendPoint, ...]
