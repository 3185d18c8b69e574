"""Limits the work in flight: a request that would wait too long is rejected at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.inference.worker import QueueFullError


class Budget:
    """A limit on an amount in use. Used by the event loop's thread only.

    A request larger than the whole limit is admitted when nothing else is in use. retry_after: seconds until a retry.
    """

    def __init__(self, limit: int, retry_after: Callable[[], int]) -> None:
        self._limit = limit
        self._retry_after = retry_after
        self.used = 0

    @contextmanager
    def lease(self, amount: int = 0) -> Iterator[Lease]:
        """While open, a request uses this much of it, and what it adds. QueueFullError when that is too much."""
        lease = Lease(self)
        lease.add(amount)
        try:
            yield lease
        finally:
            lease.release(lease.acquired)

    def acquire(self, amount: int, acquired: int) -> None:
        """See `Lease.add`."""
        acquired_by_others = self.used - acquired
        if amount and acquired_by_others and self.used + amount > self._limit:
            raise QueueFullError(self._retry_after())
        self.used += amount


class Lease:
    """One request's part of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.acquired = 0

    def add(self, amount: int) -> None:
        """Use more of it. QueueFullError, with nothing taken, when others use too much."""
        self._budget.acquire(amount, self.acquired)
        self.acquired += amount

    def release(self, amount: int) -> None:
        """Use less of it; nothing when all was given back at the request's end."""
        amount = min(amount, self.acquired)
        self._budget.used -= amount
        self.acquired -= amount


@dataclass(frozen=True)
class InFlightLimits:
    """What may be under way of one kind of work: detections have one, all else has another, and takes none of theirs.

    images: from a request's arrival to its answer. decoded_bytes: of images that wait to be decoded or are being
    decoded, as RGB. held_bytes: of image files in memory, those of bodies from their first byte to the answer, and
    kept ones from when they are read.
    """

    images: Budget
    decoded_bytes: Budget
    held_bytes: Budget
