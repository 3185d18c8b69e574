"""Novelty detection for whole images: the statistic behind the verdict `unfamiliar`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.conformal import Ranking
from indexer.scoring.image_statistics import ImageStatistics

MIN_REFERENCES = 8  # with fewer, neither the median nor the spread of a statistic is known
_TAIL, _TAIL_STD = 0.9, 1.2816  # 90 % of a normal distribution lie below 1.28 standard deviations
_BLANK = 1000.0  # added for a blank image: more than any other image can differ from the median
_MIN_SCALE = 0.01  # so that references that are all alike do not make every part unfamiliar


@dataclass(frozen=True, eq=False)
class Novelty:
    """Distribution of the references' own median distances, global distances and self-similarities.

    median, scale: float64 (3,), of the three in this order. ranking: of the references' own statistics. includes_blank:
    whether a reference is blank. A blank image exceeds every threshold, unless a reference is blank too; then it is
    ranked like all others, and the rate holds.
    """

    median: NDArray[np.float64]
    scale: NDArray[np.float64]
    ranking: Ranking
    includes_blank: bool = False

    @classmethod
    def from_statistics(cls, statistics: Sequence[ImageStatistics]) -> Novelty:
        """From the leave-one-out statistics of the references."""
        values = np.array([_components(statistic) for statistic in statistics], np.float64).reshape(-1, 3)
        if len(values) == 0:
            return cls(np.zeros(3), np.ones(3), Ranking.from_values(()))
        ordered = np.sort(values, axis=0)
        typical, tail = (ordered[position] for position in _quantile_positions(len(values)))
        # A new image does not count among those that it is compared with. Nor must a reference, or it would seem more
        # typical than a new image like it: each is compared with the median and the tail of the others.
        rank = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")  # (n, 3)
        excluded = [
            np.where(rank <= position, ordered[min(position + 1, len(values) - 1)], ordered[position])
            for position in _quantile_positions(max(1, len(values) - 1))
        ]
        own = ((values - excluded[0]) / _scale(excluded[1] - excluded[0])).max(axis=1)
        return cls(
            typical,
            _scale(tail - typical),
            Ranking.from_values(own),
            any(statistic.is_blank for statistic in statistics),
        )

    def statistic(self, statistics: ImageStatistics) -> float:
        """The largest of three robust z-scores: median distance, global distance, self-similarity."""
        return float(((np.array(_components(statistics)) - self.median) / self.scale).max())

    def threshold_at(self, rate: float) -> float | None:
        """The threshold of the statistic at which `rate` of good parts are called unfamiliar.

        With too few references for the rate, the largest statistic plus its distance to their median. A good part
        exceeds that with a probability below 1 / (n + 1). None with fewer than 8 references.
        """
        if len(self.ranking) < MIN_REFERENCES:
            return None
        if self.ranking.supports_rate(rate):
            return self.ranking.threshold_at(rate)
        largest = float(self.ranking.values[-1])
        return largest + (largest - float(np.median(self.ranking.values)))


def _quantile_positions(count: int) -> tuple[int, int]:
    """The positions of the median and of the 90 % quantile, in ascending order."""
    return (count - 1) // 2, min(count - 1, round(_TAIL * count))


def _scale(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the distance between the median and the 90 % quantile, the standard deviation of a normal upper half."""
    return np.maximum(upper / _TAIL_STD, _MIN_SCALE)


def _components(statistics: ImageStatistics) -> tuple[float, float, float]:
    return statistics.median, statistics.global_distance, statistics.self_similarity + _BLANK * statistics.is_blank
