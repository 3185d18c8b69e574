"""Decides the verdict on an image, from what was measured in it and the calibration of its category."""

from __future__ import annotations

from indexer.calibration.calibration import Calibration
from indexer.domain.verdict import Decision, DecisionSettings, Verdict
from indexer.scoring.image_statistics import Measures


def decide(measures: Measures, calibration: Calibration | None, limits: DecisionSettings) -> Decision:
    """The verdict on what was measured in a picture.

    `unfamiliar` comes first: a map means nothing where nothing like the picture was ever referenced. Then a manual
    threshold decides, or the calibrated one; with too few references for the rate the verdict is `uncalibrated` and
    the threshold the most cautious one there is (None before any calibration). A picture that shows nothing is never
    `normal`, unless a reference shows nothing either.
    """
    manual, threshold = limits.threshold, threshold_of(calibration, limits)
    if calibration is None or len(calibration) == 0:
        verdict: Verdict = "uncalibrated" if manual is None or measures.blank else _against(measures.score, manual)
        return Decision(verdict, manual, region_level=manual)
    familiarity = calibration.familiarity
    unfamiliarity, unfamiliar_level = familiarity.statistic(measures), familiarity.level(limits.unfamiliar_rate)
    beyond = measures.blank and not familiarity.blank if unfamiliar_level is None else unfamiliarity > unfamiliar_level
    if beyond:
        verdict = "unfamiliar"
    elif threshold is None or (manual is None and not calibration.scores.reaches(limits.false_reject_rate)):
        verdict = "uncalibrated"
    else:
        verdict = _against(measures.score, threshold)
    return Decision(
        verdict, threshold, calibration.scores.p_value(measures.score),
        region_level=calibration.peaks.level(limits.false_reject_rate) if manual is None else manual,
        unfamiliarity=unfamiliarity, unfamiliar_level=unfamiliar_level,
        unfamiliar_p_value=familiarity.ranking.p_value(unfamiliarity),
    )  # fmt: skip


def threshold_of(calibration: Calibration | None, limits: DecisionSettings) -> float | None:
    """The score above which a part is anomalous: a manual threshold, else the calibrated one; None before any."""
    if limits.threshold is not None or calibration is None:
        return limits.threshold
    return calibration.scores.level(limits.false_reject_rate)


def _against(score: float, threshold: float) -> Verdict:
    return "anomalous" if score > threshold else "normal"
