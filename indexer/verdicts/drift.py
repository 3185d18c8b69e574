"""Whether good production is still like the references: a running test on the p-values of inspections."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

BINS = 10
ALARM = 100.0
_UNLUCKY = 0.01  # chance that the references misrepresent good production by more than the allowance
_BETS = (0.0, 1.0, 2.0)
_JUMP = 0.01
_HIGHEST = 1e12  # evidence beyond this says nothing more


@dataclass(frozen=True)
class Drift:
    """The distribution of a category's p-values since the test began, and the evidence that they have become smaller.

    counts: inspections by p-value, in ten bins from 0 to 1. capitals: what each of three gamblers owns, who began with
    1 / 3 each and bet 0, 1 and 2 on small p-values; one hundredth of it all is shared out anew before each bet (the
    simple jumper of conformal test martingales). evidence: what they own together. highest: the most it ever was.

    While production is like the references, `evidence` ever reaches 100 with a probability of at most 1 %. P-values
    are not quite uniform for one given set of references; each is raised by the allowance √(ln 100 / 2n), which
    covers the difference in 99 of 100 sets of n references (Dvoretzky–Kiefer–Wolfowitz). So a false alarm, ever, has
    a probability of at most 2 %. Occasional defects do not raise it: no bet wins more than twice the stake.
    """

    counts: tuple[int, ...] = (0,) * BINS
    capitals: tuple[float, ...] = (1 / len(_BETS),) * len(_BETS)
    highest: float = 1.0

    @property
    def inspections(self) -> int:
        """How many p-values it has seen."""
        return sum(self.counts)

    @property
    def evidence(self) -> float:
        """What the gamblers own now."""
        return sum(self.capitals)

    @property
    def drifting(self) -> bool:
        """Whether the evidence has reached the alarm since the test began."""
        return self.highest >= ALARM

    def after(self, p_values: Iterable[float], references: int) -> Drift:
        """The state after further inspections, in order, calibrated with this many references."""
        allowance = math.sqrt(math.log(1 / _UNLUCKY) / (2 * max(1, references)))
        counts, capitals, highest = list(self.counts), list(self.capitals), self.highest
        for p_value in p_values:
            counts[min(BINS - 1, int(p_value * BINS))] += 1
            raised = min(1.0, p_value + allowance)
            together = sum(capitals)
            capitals = [
                ((1 - _JUMP) * capital + _JUMP * together / len(_BETS)) * (1 + bet * (0.5 - raised))
                for capital, bet in zip(capitals, _BETS, strict=True)
            ]
            if (together := sum(capitals)) > _HIGHEST:
                capitals = [capital * _HIGHEST / together for capital in capitals]
            highest = max(highest, min(together, _HIGHEST))
        return replace(self, counts=tuple(counts), capitals=tuple(capitals), highest=highest)
