"""What a good part may measure, from leave-one-out measures of the references, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from indexer.calibration.conformal import Ranking
from indexer.calibration.novelty import Familiarity
from indexer.detection.image_statistics import Measures
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.verdict import Decision, DecisionSettings, Verdict


@dataclass(frozen=True, eq=False)
class Calibration:
    """Leave-one-out measures of one category's references, ranked.

    references: their ids, in the order of `measures`. version: the snapshot they were computed on. key: names the
    references and settings they are of, alike in every process. duplicates: references that count for nothing, being
    another's duplicates: a picture taken twice says nothing new about what good parts look like. layer_weights: those
    that the measures were made under, None for equal ones; whatever is held against the calibration needs the same.
    """

    category: str
    version: int
    key: str
    measures: tuple[Measures, ...]
    scores: Ranking
    peaks: Ranking
    familiarity: Familiarity
    duplicates: int = 0
    references: tuple[int, ...] = ()
    layer_weights: tuple[float, ...] | None = None

    @classmethod
    def of(
        cls, category: str, version: int, key: str, measures: Iterable[Measures], duplicates: int = 0,
        references: Iterable[int] = (), layer_weights: tuple[float, ...] | None = None,
    ) -> Calibration:  # fmt: skip
        """From the measures of every reference that counts; references: their ids, where they are known."""
        found = tuple(measures)
        return cls(
            category, version, key, found, Ranking.of(each.score for each in found),
            Ranking.of(each.peak for each in found), Familiarity.of(found), duplicates, tuple(references),
            layer_weights,
        )  # fmt: skip

    def __len__(self) -> int:
        """References that count."""
        return len(self.scores)


def weighed(settings: ScoringSettings, calibration: Calibration | None) -> ScoringSettings:
    """How images are scored that a calibration decides on: with its layer weights, unless the settings name some."""
    if settings.layer_weights is not None or calibration is None:
        return settings
    return replace(settings, layer_weights=calibration.layer_weights)


def decide(measures: Measures, calibration: Calibration | None, limits: DecisionSettings) -> Decision:
    """The verdict on what was measured in a picture.

    `unfamiliar` comes first: a map means nothing where nothing like the picture was ever referenced. Then a manual
    threshold decides, or the calibrated one; with too few references for the rate the verdict is `uncalibrated` and
    the threshold the most cautious one there is (None before any calibration). A picture that shows nothing is never
    `normal`, unless a reference shows nothing either.
    """
    manual = limits.threshold
    if calibration is None or len(calibration) == 0:
        verdict: Verdict = "uncalibrated" if manual is None or measures.blank else _against(measures.score, manual)
        return Decision(verdict, manual, region_level=manual)
    familiarity = calibration.familiarity
    unfamiliarity, unfamiliar_level = familiarity.statistic(measures), familiarity.level(limits.unfamiliar_rate)
    threshold = calibration.scores.level(limits.false_reject_rate) if manual is None else manual
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


def _against(score: float, threshold: float) -> Verdict:
    return "anomalous" if score > threshold else "normal"
