"""Adds security headers and the index version to every response."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A page of ours may say more precisely what it needs: what an answer carries already is left alone.
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class ResponseHeadersMiddleware:
    """Adds security headers, and the index version of this process, to every response.

    After a write that version includes it: send it as `min_version` to any replica to read the write.
    """

    def __init__(self, app: ASGIApp, version: Callable[[], int]) -> None:
        self._app = app
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [*SECURITY_HEADERS, (b"x-index-version", str(self._version()).encode())]
                message["headers"] = [*message["headers"], *(header for header in added if header[0] not in present)]
            await send(message)

        await self._app(scope, receive, careful if scope["type"] == "http" else send)
