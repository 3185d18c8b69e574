"""What every request passes first: an id for the logs, and a bound on its size."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.problems import MEDIA_TYPE, ProblemError, translate

HEADER = b"x-request-id"
# A page of ours may say more precisely what it needs: what an answer carries already is left alone.
_CAREFUL = [
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


class BodyLimit:
    """Refuses a body over a size, by its declared length or as soon as it grows beyond."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._most_bytes:
            await self._refuse(scope, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most_bytes:
                raise ProblemError("request-too-large", self._detail)
            return message

        await self._app(scope, counted, send)

    @property
    def _detail(self) -> str:
        return f"A request may have at most {self._most_bytes} bytes."

    async def _refuse(self, scope: Scope, send: Send) -> None:
        await send_problem(
            ProblemError("request-too-large", self._detail, headers={"Connection": "close"}), scope, send
        )


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
                added = [*_CAREFUL, (b"x-snapshot-version", str(self._version()).encode())]
                message["headers"] = [*message["headers"], *(each for each in added if each[0] not in there)]
            await send(message)

        await self._app(scope, receive, careful if scope["type"] == "http" else send)


async def send_problem(problem: ProblemError, scope: Scope, send: Send) -> None:
    """Answer a request with a problem, below the framework."""
    scope["problem"] = problem.kind
    body = problem.body(scope["request_id"])
    headers = {"content-type": MEDIA_TYPE, **problem.headers}
    await send(
        {
            "type": "http.response.start",
            "status": body.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body.model_dump_json(exclude_none=True).encode()})
