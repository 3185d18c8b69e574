"""Limits the number and size of a request's headers."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from service.http.problem_responses import send_problem
from service.http.problem_types import ProblemError


class HeaderLimitMiddleware:
    """Refuses a request with too many headers, or too long ones, that came at once.

    Headers that come bit by bit are refused where they are put together, as soon as they are too long.
    """

    def __init__(self, app: ASGIApp, *, max_headers: int, max_bytes: int) -> None:
        self._app = app
        self._max_headers = max_headers
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            size = len(scope["raw_path"]) + len(scope["query_string"])
            size += sum(len(name) + len(value) for name, value in scope["headers"])
            if len(scope["headers"]) > self._max_headers or size > self._max_bytes:
                detail = f"A request may have at most {self._max_headers} headers of together {self._max_bytes} bytes."
                await send_problem(
                    ProblemError("headers-too-large", detail, headers={"Connection": "close"}), scope, send
                )
                return
        await self._app(scope, receive, send)
