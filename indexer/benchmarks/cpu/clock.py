"""Fair timings on a machine that is not quiet: every round runs every subject once, and ratios are taken per round."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

Subject = Callable[[], object]


@dataclass(frozen=True)
class Timings:
    """Seconds of every subject, one value per round."""

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """The median seconds of one subject."""
        return median(self.seconds[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times longer `name` takes than `other`: the median of the rounds' own ratios."""
        return median(a / b for a, b in zip(self.seconds[name], self.seconds[other], strict=True))


def time_interleaved(
    subjects: Mapping[str, Subject],
    rounds: int,
    tick: Callable[[str], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Run every subject once to warm up, then `rounds` times in turn.

    tick: called with what runs now. clock: says the time, in seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    gc.collect()
    for index in range(rounds + 1):
        for name, subject in subjects.items():
            tick(f"{name}, round {index} of {rounds}" if index else f"{name}, warm-up")
            start = clock()
            subject()
            elapsed = clock() - start
            if index:
                seconds[name].append(elapsed)
    return Timings({name: tuple(values) for name, values in seconds.items()})
