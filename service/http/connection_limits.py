"""Limits connections: their number, slow headers, idle time, stalled responses."""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Literal, cast

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from service.http.middleware.headers import SECURITY_HEADERS
from service.http.middleware.request_id import HEADER
from service.http.problem_types import MEDIA_TYPE, ProblemError

log = logging.getLogger("touchstone")

# What a client still sends after its answer is read and dropped: to close with unread data resets the connection, and
# the client might see that instead of the answer. Until nothing has come for so long, and no longer than that in all.
_LINGER_SECONDS = 2.0
_LINGER_SECONDS_IN_ALL = 30.0

# What a connection is doing. fresh: nothing has come yet; kept: between two requests; headers: some of them are there;
# rest: the answer is sent, but the body that nobody wanted is not all here; working: anything that the app bounds.
_Phase = Literal["fresh", "kept", "headers", "rest", "working"]


@dataclass
class ConnectionLimits:
    """What all connections share. max_connections: at once; on_rejected: called with each problem's type."""

    max_connections: int
    header_timeout_seconds: float
    keep_alive_timeout_seconds: float
    write_timeout_seconds: float
    on_rejected: Callable[[str], None]
    lingering: set[asyncio.Transport] = field(default_factory=set)

    @property
    def protocol(self) -> Any:
        """What uvicorn is to make a connection's protocol with."""
        return partial(LimitedH11Protocol, limits=self)


class LimitedH11Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 with timeouts for headers, idle connections and unread responses.

    At the maximum number of connections a new one replaces the one that has been without a request for longest, which
    gets 503 unless it was kept alive after a response; if all are busy, the new one gets 503. Time for bodies is
    bounded by `service.http.middleware.body_limit`.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._phase: _Phase = "working"
        self._since = 0.0
        self._leaving = False  # the last answer is given: nothing that comes is looked at
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Watch the new connection, or refuse it."""
        super().connection_made(cast(asyncio.Transport, _LingeringTransport(transport, self._close)))
        self._enter("fresh")
        if len(self.connections) > self._limits.max_connections and not self._close_longest_idle():
            self._reject(self._too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        self._limits.lingering.discard(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received data, unless the last response was already sent."""
        if self._leaving:
            self._linger()
        else:
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, if the client has not sent it already."""
        super().on_response_complete()
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        """Disabled: uvicorn's timer ignores partially received requests; `_on_timeout` handles them."""

    def pause_writing(self) -> None:
        """The client does not read the response: start the write timeout."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.write_timeout_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again, or has disconnected."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or too long: uvicorn calls this while it handles h11's error."""
        error = sys.exc_info()[1]
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            max_header_bytes = self.config.h11_max_incomplete_event_size
            self._reject(
                ProblemError("headers-too-large", f"A request's headers may have at most {max_header_bytes} bytes.")
            )
        else:
            self._reject(ProblemError("malformed-request", msg))

    def shutdown(self) -> None:
        """Close now, or after the answer that is under way."""
        if self._leaving:
            self.transport.close()
        else:
            super().shutdown()

    def _watch(self) -> None:
        if self._leaving or self.transport.is_closing():
            return
        client_state, server_state = self.conn.their_state, self.conn.our_state
        if client_state is h11.IDLE:
            begun = bool(self.conn.trailing_data[0])
            self._enter("headers" if begun else "fresh" if self.cycle is None else "kept")
        else:
            answered = server_state is h11.DONE and client_state is h11.SEND_BODY
            self._enter("rest" if answered else "working")

    def _enter(self, phase: _Phase) -> None:
        if phase == self._phase:
            return
        self._phase, self._since = phase, self.loop.time()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if phase != "working":
            seconds = (
                self._limits.keep_alive_timeout_seconds if phase == "kept" else self._limits.header_timeout_seconds
            )
            self._deadline = self.loop.call_later(seconds, self._on_timeout)

    def _on_timeout(self) -> None:
        if self._phase == "headers":
            detail = f"The request's headers did not come within {self._limits.header_timeout_seconds:g} seconds."
            self._reject(ProblemError("request-timeout", detail))
        else:
            self.transport.close()

    def _close_longest_idle(self) -> bool:
        """Close the connection that has had no request for longest; whether there was one."""
        connections = (
            connection
            for connection in self.connections
            if isinstance(connection, LimitedH11Protocol) and connection is not self
        )
        idle = [
            connection
            for connection in connections
            if connection._phase in ("fresh", "kept", "headers") and not connection._leaving
        ]
        if not idle:
            return False
        longest = min(idle, key=lambda connection: connection._since)
        self.connections.discard(longest)
        if longest._phase == "kept":
            longest.transport.close()
        else:  # its request may be on its way, and must not meet a reset
            longest._reject(self._too_many_connections())
        return True

    def _too_many_connections(self) -> ProblemError:
        detail = f"There are {self._limits.max_connections} connections already, all at work; try again."
        return ProblemError("too-many-connections", detail, headers={"Retry-After": "1"})

    def _reject(self, problem: ProblemError) -> None:
        """Answer below the app, and close once the client has had time to read it."""
        self._leaving = True
        self._limits.on_rejected(problem.kind)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        self.conn.send_failed()
        request_id = uuid.uuid4().hex
        self.transport.write(_response(problem, request_id))
        facts = {"problem": problem.kind, "client": self.client and self.client[0], "request_id": request_id}
        log.info("connection refused: %s", problem.detail, extra=facts)
        self._leave()

    def _close(self, transport: asyncio.Transport) -> None:
        """Close after an answer, at once where the client has nothing left to send."""
        if self.conn.their_state is h11.SEND_BODY and not self._leaving and not transport.is_closing():
            self._leave()
        else:
            transport.close()

    def _leave(self) -> None:
        """Shut down writing, and close once the client has stopped sending."""
        self._leaving = True
        self._enter("working")
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        if len(self._limits.lingering) >= self._limits.max_connections or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._limits.lingering.add(self.transport)
        self._since = self.loop.time()
        self._linger()

    def _linger(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        left = self._since + _LINGER_SECONDS_IN_ALL - self.loop.time()
        self._deadline = self.loop.call_later(min(_LINGER_SECONDS, left), self.transport.abort)


class _LingeringTransport:
    """A transport whose `close` is the protocol's to carry out; uvicorn closes after an answer whatever still comes."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[asyncio.Transport], None]) -> None:
        self._transport = transport
        self._close = close
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Send nothing more."""
        self._closing = True
        self._close(self._transport)

    def is_closing(self) -> bool:
        """Whether `close` was called, although something may still be read."""
        return self._closing or self._transport.is_closing()


def _response(problem: ProblemError, request_id: str) -> bytes:
    body = problem.body(request_id)
    content = body.model_dump_json(exclude_none=True).encode()
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(content)),
        "connection": "close",
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {body.status} {HTTPStatus(body.status).phrase}".encode()]
    lines += [f"{name.lower()}: {value}".encode() for name, value in headers.items()]
    lines += [b"%b: %b" % pair for pair in (*SECURITY_HEADERS, (HEADER, request_id.encode()))]
    return b"\r\n".join(lines) + b"\r\n\r\n" + content
