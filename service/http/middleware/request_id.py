"""Assigns a request id, which the response, the log lines, problems all carry."""

from __future__ import annotations

import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problem_responses import send_problem
from service.http.problems import to_problem
from service.observability import logs

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Accepts a valid `X-Request-ID` or generates one, and returns it with every response, including errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        value = dict(scope["headers"]).get(HEADER, b"")
        request_id = value if _SANE.fullmatch(value) else uuid.uuid4().hex.encode()
        scope["request_id"] = request_id.decode()
        logs.request_id.set(scope["request_id"])

        begun = False

        async def tagged(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], (HEADER, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception as error:
            problem = to_problem(error)  # which logs what nobody expected
            if begun:
                raise
            await send_problem(problem, scope, tagged)
