"""Conformal p-values and thresholds from the scores of good parts (Vovk, Gammerman, Shafer, 2005)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ranking:
    """The calibration scores of n good parts, sorted: float64 (n,).

    A new good part is exchangeable with them, so its rank among theirs is uniform; nothing else is assumed.
    """

    values: NDArray[np.float64]

    @classmethod
    def from_values(cls, values: Iterable[float]) -> Ranking:
        """From values in any order."""
        return cls(np.sort(np.fromiter(values, np.float64)))

    def __len__(self) -> int:
        return len(self.values)

    def p_value(self, value: float) -> float:
        """The conformal p-value (1 + #{values ≥ value}) / (n + 1), in (0, 1]: small if few scored as high."""
        above = len(self.values) - int(np.searchsorted(self.values, value, side="left"))
        return (1 + above) / (len(self.values) + 1)

    def supports_rate(self, rate: float) -> bool:
        """Whether there are enough values to guarantee this rate: n + 1 ≥ 1 / rate."""
        return len(self.values) >= references_needed(rate)

    def threshold_at(self, rate: float) -> float | None:
        """The largest value that still passes at this rate; the largest of all while the rate is not supported.

        A value is rejected if it is larger: at a supported rate, exactly if its p-value is at most the rate. None
        without values.
        """
        if len(self.values) == 0:
            return None
        return float(self.values[-self.deciding(rate)])

    def deciding(self, rate: float) -> int:
        """How many of the largest values lie at or above the threshold at this rate: ⌊rate (n + 1)⌋, but 1 to n."""
        return min(len(self.values), max(1, math.floor(rate * (len(self.values) + 1) + 1e-9)))

    def rates(self) -> list[float]:
        """The smallest rates, to six decimals, at which the largest value, the second largest … is the threshold.

        Only for the larger half of the values; higher rates are of no use.
        """
        count = len(self.values)
        return [_rate(place, count) for place in range(1, max(1, (count + 1) // 2) + 1)]


def smallest_rate(references: int) -> float:
    """The smallest rate that so many references, 1 or more, guarantee: 1 / (n + 1), rounded up to six decimals."""
    return _rate(1, references)


def _rate(place: int, count: int) -> float:
    # To six decimals: rounded up, so that none becomes a rate that one value fewer decides.
    return math.ceil(place / (count + 1) * 1e6 - 1e-7) / 1e6


def references_needed(rate: float) -> int:
    """The minimum number of references that guarantees a rate in (0, 1): ⌈1 / rate⌉ − 1."""
    if not 0 < rate < 1:
        raise ValueError("a rate lies between 0 and 1")
    return math.ceil(1 / rate - 1e-9) - 1
