"""Bounds the detections under way, so that what would wait too long is refused before it costs anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Admission:
    """Counts detection requests from their arrival to their answer. Used by the event loop's thread only.

    most: how many may be under way: as many as the queue and a batch hold pictures.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0

    @property
    def full(self) -> bool:
        """Whether one more is too many."""
        return self._inside >= self._most

    @contextmanager
    def request(self) -> Iterator[None]:
        """While open, one more request is under way."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
