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
