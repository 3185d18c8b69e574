"""Work in steps, so that more urgent work can come between them: each yields the share done, 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")


def run_to_end(steps: Generator[float, None, T], progress: Callable[[float], object] = lambda _: None) -> T:
    """What the steps return, run one after the other. progress: called with the share done."""
    while True:
        try:
            progress(next(steps))
        except StopIteration as end:
            result: T = end.value
            return result


def shares_between(start: float, end: float, steps: Generator[float, None, T]) -> Generator[float, None, T]:
    """Steps that are a part of some work, which is done to the share `start` before them and `end` after them."""
    while True:
        try:
            share = next(steps)
        except StopIteration as finished:
            result: T = finished.value
            return result
        yield start + (end - start) * share
