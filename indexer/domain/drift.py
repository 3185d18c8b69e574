"""Drift detection: conformal test martingales on the p-values of inspections (Vovk et al., the simple jumper).

Two of them, on the scores and on the images as a whole, tell many defects from a changed scene.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

DriftState: TypeAlias = Literal["steady", "defects", "drifting"]

BINS = 10
ALARM = 100.0
_UNLUCKY = 0.005  # chance that the references misrepresent good production by more than an allowance; there are two
_DEFECTS = 0.05  # share of defective parts that is no drift
_BETS = (0.0, 1.0, 2.0)
_STAKES = (0.1, 0.3)
STRATEGIES = len(_BETS) + len(_STAKES)
_JUMP = 0.01
_MAX_EVIDENCE = 1e12  # evidence beyond this says nothing more


@dataclass(frozen=True)
class DriftMartingale:
    """The distribution of a category's p-values since the test began, and the evidence that they have become smaller.

    counts: inspections by p-value, in ten bins from 0 to 1. capitals: the capital of each of five betting strategies,
    initially 1 / 5. Three bet on small p-values with factors 1 + ε (1/2 − p) for ε = 0, 1, 2; two stake 0.1 and 0.3 of
    their capital on parts that score above every reference. Before each bet 1 % of the total is redistributed equally
    (the simple jumper of conformal test martingales). evidence: the total capital, the value of the martingale.
    max_evidence: its maximum so far.

    While production is like the references, `evidence` ever reaches 100 with a probability of at most 1 % (Ville's
    inequality). P-values are not exactly uniform for one given set of n references. For the first three strategies each
    is raised by √(ln 200 / 2n), which covers the difference in 199 of 200 sets (Dvoretzky–Kiefer–Wolfowitz). The others
    assume that good parts score above every reference with the probability that holds in 199 of 200 sets, 1 −
    0.005^(1/n), plus 0.05 for defects. In total the probability of ever raising a false alarm is at most 2 %.
    """

    counts: tuple[int, ...] = (0,) * BINS
    capitals: tuple[float, ...] = (1 / STRATEGIES,) * STRATEGIES
    max_evidence: float = 1.0

    @property
    def inspections(self) -> int:
        """Number of p-values seen."""
        return sum(self.counts)

    @property
    def evidence(self) -> float:
        """The value of the martingale."""
        return sum(self.capitals)

    @property
    def drifting(self) -> bool:
        """Whether the evidence has reached the alarm since the test began."""
        return self.max_evidence >= ALARM

    def update(self, p_values: Iterable[float], references: int) -> DriftMartingale:
        """The state after further inspections, in order, calibrated with this many references."""
        known = max(1, references)
        allowance = math.sqrt(math.log(1 / _UNLUCKY) / (2 * known))
        above_all = 1 - _UNLUCKY ** (1 / known) + _DEFECTS  # assumed probability of a score above every reference
        counts, capitals, max_evidence = list(self.counts), list(self.capitals), self.max_evidence
        for p_value in p_values:
            counts[min(BINS - 1, int(p_value * BINS))] += 1
            raised = min(1.0, p_value + allowance)
            odds = 1 / above_all if p_value * (known + 1) < 1.5 else 0.0  # the smallest p-value there is, 1 / (n + 1)
            factors = (*(1 + bet * (0.5 - raised) for bet in _BETS), *(1 + stake * (odds - 1) for stake in _STAKES))
            total = sum(capitals)
            capitals = [
                ((1 - _JUMP) * capital + _JUMP * total / STRATEGIES) * factor
                for capital, factor in zip(capitals, factors, strict=True)
            ]
            if (total := sum(capitals)) > _MAX_EVIDENCE:
                capitals = [capital * _MAX_EVIDENCE / total for capital in capitals]
            max_evidence = max(max_evidence, min(total, _MAX_EVIDENCE))
        return replace(self, counts=tuple(counts), capitals=tuple(capitals), max_evidence=max_evidence)


@dataclass(frozen=True)
class DriftPValues:
    """What one inspection counts for. scene: None of one from before it was kept."""

    score: float
    scene: float | None


@dataclass(frozen=True)
class DriftTest:
    """A category's drift test. calibration_key: of the calibration its p-values come from. Times are UTC.

    version: the snapshot of the inspection it began with. flagged_at: when the first flag was raised, None while none
    is. scores: the p-values of scores, which many defects and a changed scene make small. scene: those of images as a
    whole: the 40th percentile of a part's patch distances, ranked among the medians of the references'. What covers up
    to a fifth of the inspected cells cannot take it beyond the median of the others, so that only a changed scene does
    (order statistics as robust location: Hampel et al., 1986).
    """

    calibration_key: str
    version: int
    started_at: datetime
    flagged_at: datetime | None
    scores: DriftMartingale
    scene: DriftMartingale

    @property
    def state(self) -> DriftState:
        """drifting: the scene has changed. defects: many parts are anomalous in places, in a scene as before."""
        if self.scene.drifting:
            return "drifting"
        return "defects" if self.scores.drifting else "steady"

    def update(self, p_values: Sequence[DriftPValues], references: int, at: datetime) -> DriftTest:
        """The state after further inspections, in order, calibrated with this many references, recorded at a time."""
        scores = self.scores.update([p_value.score for p_value in p_values], references)
        scene = self.scene.update([p_value.scene for p_value in p_values if p_value.scene is not None], references)
        raised = at if scores.drifting or scene.drifting else None
        return replace(self, scores=scores, scene=scene, flagged_at=self.flagged_at or raised)
