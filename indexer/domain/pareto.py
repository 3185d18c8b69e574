"""How many confirmed defects each class has: the most frequent first, as in a Pareto chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ParetoBar:
    """The confirmed defects of one class; None: of those without a class.

    share, cumulative_share: of all confirmed defects, alone and with the bars before it, in (0, 1].
    """

    defect_class: str | None
    count: int
    share: float
    cumulative_share: float


@dataclass(frozen=True)
class Pareto:
    """Confirmed defects by class. total: of all bars."""

    total: int
    bars: tuple[ParetoBar, ...]

    @classmethod
    def from_counts(cls, counts: Sequence[tuple[str | None, int]]) -> Pareto:
        """Bars in order: descending counts, equal ones by name, those without a class last however many they are."""
        ordered = sorted(counts, key=lambda pair: (pair[0] is None, -pair[1], pair[0] or ""))
        total, below = sum(count for _, count in ordered), 0
        bars = []
        for defect_class, count in ordered:
            below += count
            bars.append(ParetoBar(defect_class, count, count / total, below / total))
        return cls(total, tuple(bars))
