"""Decides the verdict on an image from its statistics and the calibration of its category."""

from __future__ import annotations

from indexer.calibration.calibration import Calibration
from indexer.domain.verdict import Decision, DecisionSettings, Verdict
from indexer.scoring.image_statistics import ImageStatistics


def decide(statistics: ImageStatistics, calibration: Calibration | None, settings: DecisionSettings) -> Decision:
    """The verdict for an image's statistics.

    `unfamiliar` takes precedence, since an anomaly map is meaningless for an image unlike all references. Then a manual
    threshold decides, or the calibrated one; with too few references for the rate the verdict is `uncalibrated` and the
    threshold the highest leave-one-out score (None before any calibration). A blank image is never `normal`, unless a
    reference is blank.
    """
    manual, threshold = settings.threshold, threshold_of(calibration, settings)
    if calibration is None or len(calibration) == 0:
        verdict: Verdict = (
            "uncalibrated"
            if manual is None or statistics.is_blank
            else _compare_with_threshold(statistics.score, manual)
        )
        return Decision(verdict, manual, region_threshold=manual)
    familiarity = calibration.novelty
    unfamiliarity, unfamiliar_threshold = (
        familiarity.statistic(statistics),
        familiarity.threshold_at(settings.unfamiliar_rate),
    )
    beyond = (
        statistics.is_blank and not familiarity.includes_blank
        if unfamiliar_threshold is None
        else unfamiliarity > unfamiliar_threshold
    )
    if beyond:
        verdict = "unfamiliar"
    elif threshold is None or (manual is None and not calibration.scores.supports_rate(settings.false_reject_rate)):
        verdict = "uncalibrated"
    else:
        verdict = _compare_with_threshold(statistics.score, threshold)
    return Decision(
        verdict,
        threshold,
        calibration.scores.p_value(statistics.score),
        region_threshold=calibration.peaks.threshold_at(settings.false_reject_rate) if manual is None else manual,
        novelty=unfamiliarity,
        novelty_threshold=unfamiliar_threshold,
        novelty_p_value=familiarity.ranking.p_value(unfamiliarity),
        scene_p_value=calibration.medians.p_value(statistics.scene_distance),
    )


def threshold_of(calibration: Calibration | None, limits: DecisionSettings) -> float | None:
    """The score above which a part is anomalous: a manual threshold, else the calibrated one; None before any."""
    if limits.threshold is not None or calibration is None:
        return limits.threshold
    return calibration.scores.threshold_at(limits.false_reject_rate)


def _compare_with_threshold(score: float, threshold: float) -> Verdict:
    return "anomalous" if score > threshold else "normal"
