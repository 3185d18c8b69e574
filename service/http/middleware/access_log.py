"""Records a metric, a log line, a trace span for every request."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.metrics import Metrics
from service.observability.tracing import Tracing, describe

log = logging.getLogger("touchstone.requests")

UNMATCHED = "unmatched"  # stands for every path that is no route, so that strangers cannot make new series
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds; logged when they fail


class AccessLogMiddleware:
    """The outermost layer: sees every request from its first byte to its answer's last.

    What is done after the answer counts for no request's time.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        status = 499  # nothing was answered: the client went away
        answered: float | None = None

        async def noticed(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered = time.monotonic()

        with self._tracing.request(scope) as span:
            try:
                await self._app(scope, receive, noticed)
            finally:
                seconds = (answered or time.monotonic()) - begun
                route = getattr(scope.get("route"), "path", UNMATCHED)
                problem = scope.get("problem")
                self._metrics.requested(scope["method"], route, status, seconds)
                if problem is not None:
                    self._metrics.problem(problem)
                _log(scope, route, status, seconds, problem)
                describe(
                    span,
                    {
                        "http.request.method": scope["method"],
                        "http.route": route,
                        "http.response.status_code": status,
                        "error.type": problem,
                        "touchstone.request_id": scope.get("request_id"),
                    },
                )


def _log(scope: Scope, route: str, status: int, seconds: float, problem: str | None) -> None:
    level = logging.DEBUG if route in _QUIET and status < 400 else logging.INFO if status < 500 else logging.WARNING
    facts = {
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 1),
        "request_id": scope.get("request_id"),
        "problem": problem,
    }
    log.log(level, "request", extra={name: value for name, value in facts.items() if value is not None})
