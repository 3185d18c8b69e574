"""Rate limit per API key: a token bucket that refills as time passes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """One bucket a key, in this process; a replica has its own. Used from the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, key_id: str, per_minute: int) -> int:
        """Take one request of `per_minute` (≥ 1); 0 when it may go on, else the seconds until one may, rounded up.

        A bucket holds ten seconds' worth of requests, and at least one, which allows short bursts.
        """
        capacity, rate, now = max(1.0, per_minute / 6), per_minute / 60, self._clock()
        bucket = self._buckets.setdefault(key_id, _Bucket(capacity, now))
        bucket.tokens = min(capacity, bucket.tokens + (now - bucket.at) * rate)
        bucket.at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0
        return math.ceil((1 - bucket.tokens) / rate)
