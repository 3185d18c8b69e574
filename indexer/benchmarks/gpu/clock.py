"""Latencies of work on a device, from the call until its last result is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Latencies:
    """Seconds of every repetition."""

    seconds: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """Seconds that this share (0 … 100) of the repetitions did not exceed."""
        return float(np.percentile(self.seconds, share))

    @property
    def median(self) -> float:
        """Seconds."""
        return self.percentile(50)


_ENOUGH_SECONDS, _MIN_REPEATS = 2.0, 5


def timed(work: Callable[[], object], device: torch.device, repeats: int) -> Latencies:
    """Run it once to warm up, then `repeats` times, waiting for the device each time.

    Slow work is repeated less often: after 2 seconds five repetitions are enough.
    """
    seconds: list[float] = []
    for index in range(repeats + 1):
        if index > _MIN_REPEATS and sum(seconds) > _ENOUGH_SECONDS:
            break
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if index:
            seconds.append(time.perf_counter() - started)
    return Latencies(tuple(seconds))
