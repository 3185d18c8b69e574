"""Bounds what requests have under way, so that what would wait too long, or not fit, is refused early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.inference.worker import Busy


class Budget:
    """So much of something may be in use at once. Used by the event loop's thread only.

    What is larger than all of it is taken when nothing else is in use. retry_after: seconds until a try is worth it.
    """

    def __init__(self, most: int, retry_after: Callable[[], int]) -> None:
        self._most = most
        self._retry_after = retry_after
        self.used = 0

    @contextmanager
    def lease(self, amount: int = 0) -> Iterator[Lease]:
        """While open, a request uses this much of it, and what it adds. Busy when that is too much."""
        lease = Lease(self)
        lease.add(amount)
        try:
            yield lease
        finally:
            lease.give_back(lease.held)

    def take(self, amount: int, held: int) -> None:
        """See `Lease.add`."""
        others = self.used - held
        if amount and others and self.used + amount > self._most:
            raise Busy(self._retry_after())
        self.used += amount


class Lease:
    """One request's part of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def add(self, amount: int) -> None:
        """Use more of it. Busy, with nothing taken, when others use too much."""
        self._budget.take(amount, self.held)
        self.held += amount

    def give_back(self, amount: int) -> None:
        """Use less of it; nothing when all was given back at the request's end."""
        amount = min(amount, self.held)
        self._budget.used -= amount
        self.held -= amount


@dataclass(frozen=True)
class Admission:
    """What may be under way of one kind of work: detections have one, all else has another, and takes none of theirs.

    pictures: from a request's arrival to its answer. decoded_bytes: of pictures that wait to be decoded or are being
    decoded, as RGB. held_bytes: of picture files in memory, those of bodies from their first byte to the answer, and
    kept ones from when they are read.
    """

    pictures: Budget
    decoded_bytes: Budget
    held_bytes: Budget
