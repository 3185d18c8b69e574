"""How inspections went over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class TrendPoint:
    """The inspections of one bucket of time, from `at` on.

    mean, max: of their scores. threshold: the highest of theirs. mean_ratio, max_ratio: of each score over its own
    threshold; None where none had one above 0. verdicts: how many had each.
    """

    at: datetime
    count: int
    mean: float
    max: float
    threshold: float | None
    mean_ratio: float | None
    max_ratio: float | None
    verdicts: Mapping[str, int]


@dataclass(frozen=True)
class Trend:
    """How inspections went over time, oldest first; buckets without any are left out.

    total: how many inspections; categories: of how many categories. first, last: when; None without any. bucket: the
    time that one point covers.
    """

    total: int
    categories: int
    first: datetime | None
    last: datetime | None
    bucket: timedelta
    points: tuple[TrendPoint, ...]
