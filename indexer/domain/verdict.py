"""The verdict on an image, with the settings that decide it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Verdict = Literal["normal", "anomalous", "unfamiliar", "uncalibrated"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class DecisionSettings:
    """What an engineer accepts; ValueError when a value is out of range.

    false_reject_rate: share of good parts that may be called anomalous. unfamiliar_rate: share of good parts that may
    be called unfamiliar. Both in (0, 1). threshold: of scores, ≥ 0, overrides the calibrated one.
    """

    false_reject_rate: float = 0.01
    unfamiliar_rate: float = 0.001
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.false_reject_rate < 1:
            raise ValueError("false_reject_rate must lie between 0 and 1")
        if not 0 < self.unfamiliar_rate < 1:
            raise ValueError("unfamiliar_rate must lie between 0 and 1")
        if self.threshold is not None and not 0 <= self.threshold < math.inf:
            raise ValueError("threshold must be 0 or more")


@dataclass(frozen=True)
class Decision:
    """The verdict on an image, with the values and thresholds behind it; each None while nothing is calibrated.

    threshold: of the score. p_value: of the score. region_threshold: what a pixel of the map must exceed to be part of
    a region. novelty, novelty_threshold, novelty_p_value: the statistic of `Novelty`, its threshold, its p-value.
    scene_p_value: of the distance of the image as a whole, among the medians of the references.
    """

    verdict: Verdict
    threshold: float | None
    p_value: float | None = None
    region_threshold: float | None = None
    novelty: float | None = None
    novelty_threshold: float | None = None
    novelty_p_value: float | None = None
    scene_p_value: float | None = None
