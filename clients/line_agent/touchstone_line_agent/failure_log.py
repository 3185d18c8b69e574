"""Logs a failure that is met again and again once, until it is another one or has ended."""

from __future__ import annotations

import logging

from prometheus_client import Counter

log = logging.getLogger("touchstone.line_agent")


class FailureLog:
    """what: the beginning of the line. counter: counts every failure."""

    def __init__(self, what: str, counter: Counter) -> None:
        self._what = what
        self._counter = counter
        self._last = ""

    def failed(self, error: Exception) -> None:
        """Count it, and log it unless it is the last one again."""
        self._counter.inc()
        message = f"{type(error).__name__}: {error}"
        if message != self._last:
            log.warning("%s: %s", self._what, message)
        self._last = message

    def succeeded(self) -> None:
        """The failure has ended: the next one is logged, whatever it is."""
        self._last = ""
