"""Refuses what would change something, where the service is read-only."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.middleware.root_path import route_path
from service.http.problem_responses import send_problem
from service.http.problem_types import ProblemError

_READING = ("GET", "HEAD", "OPTIONS")
_ALLOWED = frozenset({"/detect", "/geometry/advice"})  # sent with POST, and change nothing that is kept
_REFUSED = "This service is read-only: it detects. Change what it holds where it was exported from, and export again."


class ReadOnlyMiddleware:
    """Lets through what reads, and detections."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _READING and route_path(scope) not in _ALLOWED:
            problem = ProblemError("read-only", _REFUSED, headers={"Allow": "GET, HEAD", "Connection": "close"})
            await send_problem(problem, scope, send)
            return
        await self._app(scope, receive, send)
