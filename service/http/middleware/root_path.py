"""Serves below the path prefix of a reverse proxy, such as `/touchstone`."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RootPathMiddleware:
    """Serves the same whether a proxy passes on the path under which it shows the service, or strips it.

    A request's path then begins with it, as the framework wants; and a redirect names no scheme and host, which only
    the proxy knows.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path != self._root_path and not path.startswith(f"{self._root_path}/"):
            path = self._root_path + path

        async def relative(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, _path_of(value) if name == b"location" else value) for name, value in message["headers"]
                ]
            await send(message)

        await self._app({**scope, "root_path": self._root_path, "path": path}, receive, relative)


def route_path(scope: Scope) -> str:
    """The path of a request as routes have it: what follows the root path."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"


def _path_of(location: bytes) -> bytes:
    return urlsplit(location)._replace(scheme=b"", netloc=b"").geturl()
