"""What every request passes first: an id for the logs, and a bound on its size."""

from __future__ import annotations

import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.problems import MEDIA_TYPE, ProblemError, translate

HEADER = b"x-request-id"
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
            await _send(problem, scope, tagged)


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
        await _send(ProblemError("request-too-large", self._detail, headers={"Connection": "close"}), scope, send)


async def _send(problem: ProblemError, scope: Scope, send: Send) -> None:
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
