"""When a call is repeated, and how long it may take."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import httpx

from touchstone_client.errors import ConnectionFailed, Problem, TouchstoneError, Unavailable


@dataclass(frozen=True)
class Timeouts:
    """Timeouts in seconds.

    connect: to establish a connection. read, write: between two chunks of a response or a request. total: for a call
    with all its attempts and the waits between them; None for no limit.
    """

    connect: float = 5.0
    read: float = 60.0
    write: float = 60.0
    total: float | None = None


@dataclass(frozen=True)
class Retries:
    """How a call is repeated after a transient failure: no connection, 408, 429, 502, 503, 504.

    The wait doubles from `initial_wait` up to `max_wait` seconds, less a random share of up to half of it, and is never
    shorter than the service's Retry-After. A Retry-After above `max_retry_after` seconds ends the call with the error,
    which carries it.
    """

    max_attempts: int = 5
    initial_wait: float = 0.25
    max_wait: float = 15.0
    max_retry_after: float = 60.0


NO_RETRIES = Retries(max_attempts=1)


@dataclass
class Attempts:
    """The attempts of one call, counted against its limits."""

    timeouts: Timeouts
    retries: Retries
    count: int = 0
    _started: float = field(default_factory=time.monotonic)

    def next_timeout(self) -> httpx.Timeout:
        """Timeouts of the attempt about to be made. ConnectionFailed when the call's total time is over."""
        self.count += 1
        remaining = self.remaining()
        if remaining <= 0:
            raise ConnectionFailed(f"No response within {self.timeouts.total:g} s.")
        connect = min(self.timeouts.connect, remaining)
        read, write = min(self.timeouts.read, remaining), min(self.timeouts.write, remaining)
        return httpx.Timeout(connect=connect, read=read, write=write, pool=connect)

    def wait_after(self, error: TouchstoneError) -> float:
        """Seconds to wait before the next attempt; raises the error when there is to be none."""
        if not isinstance(error, ConnectionFailed | Unavailable) or self.count >= self.retries.max_attempts:
            raise error
        backoff = min(self.retries.max_wait, self.retries.initial_wait * 2.0 ** (self.count - 1))
        wait = backoff * random.uniform(0.5, 1.0)
        if isinstance(error, Problem) and error.retry_after is not None:
            if error.retry_after > self.retries.max_retry_after:
                raise error
            wait = max(wait, error.retry_after)
        if wait >= self.remaining():
            raise error
        return wait

    def remaining(self) -> float:
        """Seconds until the call's total time is over."""
        total = self.timeouts.total
        return float("inf") if total is None else self._started + total - time.monotonic()
