"""Whether a picture is like anything referenced at all: the statistic behind the verdict `unfamiliar`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.verdicts.measures import Measures
from indexer.verdicts.ranking import Ranking

FEWEST = 8  # with fewer references neither the usual value nor the spread of anything is known
_NORMAL_SPREAD = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
_LEAST_SPREAD = 0.02  # of the usual value: references that are all alike must not make every part unfamiliar


@dataclass(frozen=True, eq=False)
class Familiarity:
    """How far from the usual the references' own medians and remotenesses go.

    usual, spread: float64 (2,), of (median, remoteness). ranking: of the references' own statistics.
    """

    usual: NDArray[np.float64]
    spread: NDArray[np.float64]
    ranking: Ranking

    @classmethod
    def of(cls, measures: Sequence[Measures]) -> Familiarity:
        """From the leave-one-out measures of the references."""
        values = np.array([[each.median, each.remoteness] for each in measures], np.float64).reshape(-1, 2)
        if len(values) == 0:
            return cls(np.zeros(2), np.ones(2), Ranking.of(()))
        usual = np.median(values, axis=0)
        spread = _NORMAL_SPREAD * np.median(np.abs(values - usual), axis=0)
        spread = np.maximum(spread, np.maximum(_LEAST_SPREAD * usual, 1e-6))
        return cls(usual, spread, Ranking.of(((values - usual) / spread).max(axis=1)))

    def statistic(self, measures: Measures) -> float:
        """How many spreads a picture lies beyond the usual, in the one of both respects in which it lies farther."""
        return float(((np.array([measures.median, measures.remoteness]) - self.usual) / self.spread).max())

    def level(self, rate: float) -> float | None:
        """The largest statistic of a familiar picture when `rate` of good parts may be called unfamiliar.

        With too few references for the rate, a level stricter than any of theirs: the largest, and as much again as
        it lies beyond their median. A good part exceeds that with a probability of less than 1 / (n + 1); how much
        less is not promised. None with fewer than 8 references.
        """
        if len(self.ranking) < FEWEST:
            return None
        if self.ranking.reaches(rate):
            return self.ranking.level(rate)
        largest = float(self.ranking.values[-1])
        return largest + (largest - float(np.median(self.ranking.values)))
