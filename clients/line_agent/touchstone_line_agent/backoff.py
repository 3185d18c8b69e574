"""Waits between attempts that go on until one succeeds: doubled after each failure, up to 5 s."""

from __future__ import annotations

import asyncio

_FIRST_WAIT_S = 0.1
_MAX_WAIT_S = 5.0


class Backoff:
    """The waits after the failures of one thing."""

    def __init__(self) -> None:
        self._wait_s = 0.0

    async def wait(self) -> None:
        """Wait after a failure."""
        self._wait_s = min(_MAX_WAIT_S, 2 * self._wait_s + _FIRST_WAIT_S)
        await asyncio.sleep(self._wait_s)

    def reset(self) -> None:
        """Begin with the first wait again, after a success."""
        self._wait_s = 0.0
