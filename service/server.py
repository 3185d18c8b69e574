"""Runs the service in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from service.file_descriptors import connections_allowed
from service.http.connection_limits import ConnectionLimits
from service.observability import logs
from service.settings import Settings
from service.state import AppState

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.inference.backend import Backend

_GRACE_SECONDS = 30


def serve(settings: Settings, backend: Backend | None = None) -> None:
    """Listen and answer until SIGTERM or SIGINT; accepted work is finished first.

    backend: see `AppState.start`. Raises what `AppState.start` does, and OSError if the address cannot be used.
    """
    logs.configure(settings.log_format)
    _check_address(settings.host, settings.port)
    # uvicorn raises the signal again once it has finished; being asked to stop is not a failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with ThreadPoolExecutor(1) as beside:
        # Importing the routes takes half a second, in which the encoder and the memory are read.
        importing = beside.submit(_application)
        state = AppState.start(settings, backend)
        create_app = importing.result()
    connections = connections_allowed(settings.max_connections)
    limits = ConnectionLimits(
        connections,
        settings.header_timeout_seconds,
        settings.keep_alive_timeout_seconds,
        settings.write_timeout_seconds,
        on_rejected=state.metrics.problem,
    )
    _Server(
        state,
        uvicorn.Config(
            create_app(state),
            host=settings.host,
            port=settings.port,
            loop="asyncio",  # not another that an extra happens to install
            http=limits.protocol,
            ws="none",
            h11_max_incomplete_event_size=settings.max_header_bytes,
            backlog=2 * connections,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            log_config=None,
            access_log=False,
            server_header=False,
        ),
    ).run()


def _application() -> Callable[[AppState], FastAPI]:
    from service.app import create_app

    return create_app


def _check_address(host: str, port: int) -> None:
    """Raise OSError if the address cannot be used; uvicorn would do so only after the encoder is loaded."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind(address)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error


class _Server(uvicorn.Server):
    """uvicorn's server, which notices when no connection can be accepted, and lets streams end when it is told to end.

    Otherwise the shutdown would wait for them until the grace period ends.
    """

    def __init__(self, state: AppState, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._state = state

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._state.descriptor_shortage.watch(asyncio.get_running_loop())
        await super().startup(sockets)
        gc.freeze()  # hundreds of thousands of objects that stay: no collection looks through them from now on
        gc.enable()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._state.inspection_stream.close()
        super().handle_exit(sig, frame)
