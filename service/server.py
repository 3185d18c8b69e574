"""Runs the service in this process until it is told to stop."""

from __future__ import annotations

import uvicorn

from service.app import create_app
from service.settings import Settings

_GRACE_SECONDS = 30


def serve(settings: Settings) -> None:
    """Listen and answer until SIGTERM or SIGINT; accepted work is finished first."""
    uvicorn.run(
        create_app(settings), host=settings.host, port=settings.port, timeout_graceful_shutdown=_GRACE_SECONDS,
        log_level="info", access_log=False, server_header=False,
    )  # fmt: skip
