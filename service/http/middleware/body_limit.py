"""Limits the size of a request's body, its rate, the bytes of all bodies in flight."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.middleware.root_path import route_path
from service.http.problem_responses import send_problem
from service.http.problem_types import ProblemError
from service.http.problems import to_problem
from service.inference.in_flight import Budget, Lease
from service.inference.worker import QueueFullError


class BodyLimitMiddleware:
    """Refuses a body that is too large, by its declared length or as soon as it grows beyond, or that comes too slowly.

    Images are sent as multipart/form-data and may be large; everything else is JSON and must be small. A body has
    `seconds` to come, and one second more for every `bytes_per_second` of it that came: only waiting for the client
    counts. Bodies with images are held until the answer, and all under way together within a budget: detecting, that of
    detections; others, that of all else.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        max_json_bytes: int,
        seconds: float,
        bytes_per_second: int,
        detecting: Budget,
        others: Budget,
    ) -> None:
        self._app = app
        self._detecting = detecting
        self._others = others
        self._max_bytes = max_bytes
        self._max_json_bytes = max_json_bytes
        self._seconds = seconds
        self._bytes_per_second = bytes_per_second

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        budget = self._detecting if route_path(scope) == "/detect" else self._others
        with budget.lease() as lease:
            await self._bounded(scope, receive, send, lease)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, lease: Lease) -> None:
        headers = dict(scope["headers"])
        multipart = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        max_bytes = self._max_bytes if multipart else self._max_json_bytes
        too_large = _refusal(
            "request-too-large", f"A request like this may have at most {max_bytes} bytes: send less at a time."
        )
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > max_bytes:
            await send_problem(too_large, scope, send)
            return
        try:
            lease.add(int(declared) if multipart else 0)
        except QueueFullError as busy:
            await send_problem(to_problem(busy), scope, send)
            return
        received, waited, complete, begun = 0, 0.0, False, False
        refusal: ProblemError | None = None

        async def bounded() -> Message:
            nonlocal received, waited, complete, refusal
            if complete:  # what comes now is the end of the connection, however late
                return await receive()
            requested = time.monotonic()
            try:
                async with asyncio.timeout(self._seconds + received / self._bytes_per_second - waited):
                    message = await receive()
            except TimeoutError:
                refusal = _refusal("request-timeout", f"The request's body stopped after {received} bytes.")
                raise refusal from None
            waited += time.monotonic() - requested
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > max_bytes:
                refusal = too_large
                raise refusal
            if multipart and received > lease.acquired:  # its length was not declared
                try:
                    lease.add(received - lease.acquired)
                except QueueFullError as busy:
                    refusal = to_problem(busy)
                    raise refusal from None
            return message

        async def unless_refused(message: Message) -> None:
            nonlocal begun
            if refusal is None or begun:
                begun = True
                await send(message)

        try:
            await self._app(scope, bounded, unless_refused)
        except ProblemError:
            if refusal is None:
                raise
        if refusal is not None and not begun:  # the framework words it in its own way, or not at all
            await send_problem(refusal, scope, send)


def _refusal(kind: str, detail: str) -> ProblemError:
    return ProblemError(kind, detail, headers={"Connection": "close"})
