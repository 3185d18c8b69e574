"""Waits for what happens in the background."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0


def eventually(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return once it is so. Fails with `what` when it takes too long.

    It is looked at the less often the longer it takes, a twentieth of the time late at most: looking is work, too.
    """
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        assert waited < seconds, what
        time.sleep(max(0.01, min(0.1, waited / 20)))
