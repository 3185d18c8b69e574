"""Keeps connections within the limit on open files."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from typing import Any

log = logging.getLogger("touchstone")

_OURS = 64  # files, databases' connections, listening: what is open besides clients' connections
_LEAST = 8  # connections
_QUIET_SECONDS = 10.0  # between two lines of the log
_RECENT_SECONDS = 5.0


def connections_allowed(requested: int) -> int:
    """The number of connections that the limit on open files allows, at most `requested`; the soft limit is raised to
    the hard limit.

    A refused connection stays open until its client has read the response, so there is room for twice as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * requested + _OURS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return requested
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    allowed = max(_LEAST, min(requested, (limit - _OURS) // 2))
    if allowed < requested:
        log.warning(
            "at most %d connections instead of %d: only %d files may be open (ulimit -n, LimitNOFILE)",
            allowed,
            requested,
            limit,
        )
    return allowed


class FileDescriptorShortage:
    """Detects that connections cannot be accepted because of the limit on open files. asyncio tries again after a
    second by itself.

    It reports each failed attempt, of which there may be thousands a second: the log tells them every 10 seconds.
    """

    def __init__(self) -> None:
        self._why = ""
        self._seen = float("-inf")
        self._reported = float("-inf")
        self._count = 0

    @property
    def reason(self) -> str | None:
        """Why clients wait, in one line; None when they do not."""
        if time.monotonic() - self._seen > _RECENT_SECONDS:
            return None
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"New connections wait: {self._why} ({limit} may be open: ulimit -n, LimitNOFILE)."

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the event loop report here what it cannot accept, and everything else as it does by default."""
        loop.set_exception_handler(self._handle)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not context["message"].startswith("socket.accept() out of system resource"):
            loop.default_exception_handler(context)
            return
        self._seen, self._why = time.monotonic(), str(context["exception"].strerror).lower()
        self._count += 1
        if self._seen - self._reported > _QUIET_SECONDS:
            log.error("%s Attempts since the last message: %d", self.reason, self._count)
            self._reported, self._count = self._seen, 0
