"""What every request and answer carries: an id for the logs, and headers that make browsers careful."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.problems import MEDIA_TYPE, ProblemError, translate

HEADER = b"x-request-id"
# A page of ours may say more precisely what it needs: what an answer carries already is left alone.
CAREFUL = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """Takes a sane `X-Request-ID` or makes one, and sends it back with the answer, even that of a crash."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER, b"")
        request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex.encode()
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
            problem = translate(error)  # which logs what nobody expected
            if begun:
                raise
            await send_problem(problem, scope, tagged)


class AnswerHeaders:
    """Tells browsers to be careful with every answer, and every client which snapshot this process had then.

    After a write the snapshot holds it: give its number as `min_version` to any replica to read what was written.
    """

    def __init__(self, app: ASGIApp, version: Callable[[], int]) -> None:
        self._app = app
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                added = [*CAREFUL, (b"x-snapshot-version", str(self._version()).encode())]
                message["headers"] = [*message["headers"], *(each for each in added if each[0] not in there)]
            await send(message)

        await self._app(scope, receive, careful if scope["type"] == "http" else send)


class HeadAsGet:
    """Answers HEAD wherever there is a GET, with what GET would answer but its body (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                # The answer is at its end: whatever streams a body is told that nobody listens any more.
                await send({"type": "http.response.body", "body": b""})

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, bodiless)
        finally:
            scope.update({**inner, "method": "HEAD"})  # what was found out on the way, for the log


async def send_problem(problem: ProblemError, scope: Scope, send: Send) -> None:
    """Answer a request with a problem, below the framework."""
    scope["problem"] = problem.kind
    body = problem.body(scope["request_id"])
    content = body.model_dump_json(exclude_none=True).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(content)), **problem.headers}
    await send(
        {
            "type": "http.response.start",
            "status": body.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content})
