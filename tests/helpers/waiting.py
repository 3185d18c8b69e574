"""Waits for what happens in the background."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0


def eventually(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return once it is so. Fails with `what` when it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)
