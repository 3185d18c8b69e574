"""What score a good part may have: thresholds from leave-one-out scores of the references themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexer.memory import Memory
from indexer.scoring import ScoringSettings, score_image
from indexer.search import Engine

Verdict = Literal["normal", "anomalous", "unfamiliar", "uncalibrated"]


@dataclass(frozen=True)
class Calibration:
    """The leave-one-out scores of one category's references, sorted: float64 (n,).

    version: the snapshot they were computed on. A good part is exchangeable with the references, so its score's rank
    among theirs is uniform; that is all the p-value and the threshold rest on.
    """

    category: str
    version: int
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, category: str, version: int, scores: Mapping[int, float]) -> Calibration:
        """From the leave-one-out score of every reference, by reference id."""
        return cls(category, version, np.sort(np.fromiter(scores.values(), np.float64, len(scores))))

    def p_value(self, score: float) -> float:
        """The conformal p-value (1 + #{scores ≥ score}) / (n + 1), in (0, 1]: small when few score as high."""
        above = len(self.scores) - int(np.searchsorted(self.scores, score, side="left"))
        return (1 + above) / (len(self.scores) + 1)

    def reaches(self, false_reject_rate: float) -> bool:
        """Whether there are enough references for this rate: n + 1 ≥ 1 / rate."""
        return len(self.scores) >= references_needed(false_reject_rate)

    def threshold(self, false_reject_rate: float) -> float | None:
        """The largest score that still passes at this rate, or the most cautious one when the rate is out of reach.

        A score is rejected when it is larger: exactly when its p-value is at most the rate. None without scores.
        """
        if len(self.scores) == 0:
            return None
        allowed = max(1, math.floor(false_reject_rate * (len(self.scores) + 1) + 1e-9))
        return float(self.scores[-min(allowed, len(self.scores))])


def references_needed(false_reject_rate: float) -> int:
    """The fewest references with which a false-reject rate in (0, 1) can be promised: ⌈1 / rate⌉ − 1."""
    if not 0 < false_reject_rate < 1:
        raise ValueError("a false-reject rate lies between 0 and 1")
    return math.ceil(1 / false_reject_rate - 1e-9) - 1


def leave_one_out(
    memory: Memory, engine: Engine, category: str, settings: ScoringSettings
) -> Iterator[tuple[int, float]]:
    """Yield (reference id, score) for each live reference of a category, scored against the category's others.

    One reference a step, so that a caller can do other work in between. A category of one reference yields nothing.
    """
    rows = memory.rows_of(category)
    if len(rows) < 2:
        return
    for row in rows:
        scored = score_image(
            memory, engine, memory.features_of(int(row)), settings, category=category, without=[int(row)]
        )
        yield int(memory.ids[row]), scored.score


def decide(
    score: float, calibration: Calibration | None, false_reject_rate: float, manual_threshold: float | None
) -> tuple[Verdict, float | None]:
    """The verdict on a score and the threshold it was held against.

    A manual threshold overrides. Otherwise, with too few references for the rate, the verdict is `uncalibrated` and
    the threshold is the most cautious one there is (None before any calibration).
    """
    if manual_threshold is not None:
        return ("anomalous" if score > manual_threshold else "normal"), manual_threshold
    if calibration is None:
        return "uncalibrated", None
    threshold = calibration.threshold(false_reject_rate)
    if threshold is None or not calibration.reaches(false_reject_rate):
        return "uncalibrated", threshold
    return ("anomalous" if score > threshold else "normal"), threshold
