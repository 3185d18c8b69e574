"""Estimates the effect of one more reference on a category's threshold before it is added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from indexer.calibration.calibration import Calibration
from indexer.calibration.conformal import Ranking
from indexer.screening.outliers import ScreeningResult, outlier_limit

ConfirmationReason = Literal["threshold", "not_calibrated", "unfamiliar", "other_category"]


@dataclass(frozen=True)
class Reason:
    """Why an image needs confirmation before it becomes a reference. category: another one that matches better."""

    reason: ConfirmationReason
    detail: str
    category: str | None = None


@dataclass(frozen=True)
class Effect:
    """The calibrated threshold with and without one more reference.

    score: of the image against the references there are; None without any. threshold_before, threshold_after: at the
    category's false-reject rate; None before calibration. threshold_after is an upper bound: the new reference's own
    score is exact, and the scores of the others can only decrease. outlier_limit: the score beyond which screening
    calls an image an outlier.
    """

    score: float | None
    threshold_before: float | None
    threshold_after: float | None
    outlier_limit: float | None

    @property
    def exceeds_outlier_limit(self) -> bool:
        """Whether the threshold would move beyond what screening calls an outlier."""
        before, after, limit = self.threshold_before, self.threshold_after, self.outlier_limit
        return before is not None and after is not None and limit is not None and after > max(before, limit)


def estimate_effect(screened: ScreeningResult, calibration: Calibration | None, false_reject_rate: float) -> Effect:
    """From the image as `Screening` compared it with the references of the category that are calibrated."""
    score = None if screened.statistics is None else screened.statistics.score
    if calibration is None or len(calibration) == 0:
        return Effect(score, None, None, None)
    scores = calibration.scores
    counted = score is not None and not any(finding.kind == "near_duplicate" for finding in screened.findings)
    after = Ranking.from_values([*scores.values, score]) if counted and score is not None else scores
    _, limit = outlier_limit(scores.values.tolist())
    return Effect(score, scores.threshold_at(false_reject_rate), after.threshold_at(false_reject_rate), limit)
