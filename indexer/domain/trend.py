"""How inspections went over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class TrendPoint:
    """The inspections of one stretch of time from `at` on.

    mean, max: of their scores. threshold: the highest one they were held against. verdicts: how many had each.
    """

    at: datetime
    count: int
    mean: float
    max: float
    threshold: float | None
    verdicts: Mapping[str, int]


@dataclass(frozen=True)
class Trend:
    """How inspections went over time, oldest first; stretches without any are left out.

    total: how many inspections. first, last: when; None without any. bucket: the time that one point covers.
    """

    total: int
    first: datetime | None
    last: datetime | None
    bucket: timedelta
    points: tuple[TrendPoint, ...]
