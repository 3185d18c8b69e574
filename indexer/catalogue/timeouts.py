"""Timeouts for locks held by others, for responses of the database."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Seconds. lock: for another writer to end. answer: for the first sign of an answer that no lock holds up."""

    lock: float = 30.0
    answer: float = 15.0


# Context variables and not parameters: they hold for a whole piece of work, from whichever layer it reaches SQL.
patience: ContextVar[Patience] = ContextVar("patience", default=Patience())  # noqa: B039 - it is frozen
silence: ContextVar[float] = ContextVar("silence", default=math.inf)  # what a server may owe an answer, in seconds


@contextmanager
def patient(*, lock: float, answer: float) -> Iterator[None]:
    """Within the block, wait so long: a caller that can go on without the database has less patience than others."""
    token = patience.set(Patience(lock, answer))
    try:
        yield
    finally:
        patience.reset(token)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Within the block, a server that does not respond for this long counts as unavailable."""
    token = silence.set(seconds)
    try:
        yield
    finally:
        silence.reset(token)


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, as databases take their timeouts; at least 1, since 0 would mean no limit."""
    return max(1, round(seconds * 1000))
