"""How long the client waits, and how often it tries."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import httpx

from touchstone_client.errors import Problem, TouchstoneError, Unavailable, Unreachable


@dataclass(frozen=True)
class Timeouts:
    """Seconds. connect: until a connection stands. read, write: between two pieces of an answer or a request.

    total: for a call with all its tries and the waits between them; None sets no bound.
    """

    connect: float = 5.0
    read: float = 60.0
    write: float = 60.0
    total: float | None = None


@dataclass(frozen=True)
class Retries:
    """How a call that met a passing failure is tried again. Every call of this client may be repeated safely.

    attempts: tries in all. The wait doubles from `first_wait` up to `longest_wait` seconds, less up to half of it by
    chance so that many clients do not come back at once; it is never shorter than the service's Retry-After. A
    Retry-After beyond `longest_asked` seconds is not waited for: the call ends with the error, which carries it.
    """

    attempts: int = 5
    first_wait: float = 0.25
    longest_wait: float = 15.0
    longest_asked: float = 60.0


NO_RETRIES = Retries(attempts=1)


@dataclass
class Attempts:
    """The tries of one call, counted against a policy."""

    timeouts: Timeouts
    retries: Retries
    made: int = 0
    _begun: float = field(default_factory=time.monotonic)

    def next_timeout(self) -> httpx.Timeout:
        """Timeouts of the try about to be made. Unreachable when the call's time is over."""
        self.made += 1
        left = self.left()
        if left <= 0:
            raise Unreachable(f"No answer within {self.timeouts.total:g} s.")
        most = self.timeouts
        return httpx.Timeout(
            connect=min(most.connect, left), read=min(most.read, left), write=min(most.write, left),
            pool=min(most.connect, left),
        )  # fmt: skip

    def wait_after(self, error: TouchstoneError) -> float:
        """Seconds to wait before the next try; raises the error when there is to be none."""
        if not isinstance(error, Unreachable | Unavailable) or self.made >= self.retries.attempts:
            raise error
        backoff = min(self.retries.longest_wait, self.retries.first_wait * 2.0 ** (self.made - 1))
        wait = backoff * random.uniform(0.5, 1.0)
        if isinstance(error, Problem) and error.retry_after is not None:
            if error.retry_after > self.retries.longest_asked:
                raise error
            wait = max(wait, error.retry_after)
        if wait >= self.left():
            raise error
        return wait

    def left(self) -> float:
        """Seconds left of the call's total."""
        total = self.timeouts.total
        return float("inf") if total is None else self._begun + total - time.monotonic()
