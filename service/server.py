"""Runs the service in this process until it is told to stop."""

from __future__ import annotations

import signal
import sys

import uvicorn

from service import logs
from service.app import create_app
from service.runtime import Runtime
from service.settings import Settings

_GRACE_SECONDS = 30


def serve(settings: Settings) -> None:
    """Listen and answer until SIGTERM or SIGINT; accepted work is finished first. Raises what `Runtime.start` does."""
    logs.configure(settings.log_format)
    # uvicorn raises the signal again once it has finished; being asked to stop is not a failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        create_app(Runtime.start(settings)), host=settings.host, port=settings.port,
        timeout_graceful_shutdown=_GRACE_SECONDS, log_config=None, access_log=False, server_header=False,
    )  # fmt: skip
