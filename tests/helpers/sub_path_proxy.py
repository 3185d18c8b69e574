"""A reverse proxy that serves a service under a path, as nginx does for several applications of a plant."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.helpers.server_process import free_port

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_START_SECONDS = 30


class SubPathProxy:
    """Passes on what is under the paths of `services` (path → port), each in a thread of its own, and nothing else.

    strip: whether the service gets a request without that path, as from nginx's `proxy_pass http://service/;`. `astray`
    collects what was asked for elsewhere.
    """

    def __init__(self, services: Mapping[str, int], *, strip: bool = True) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.astray: list[str] = []
        self._services = services
        self._strip = strip
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)])
        config = uvicorn.Config(app, port=self.port, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> SubPathProxy:
        self._thread.start()
        end = time.monotonic() + _START_SECONDS
        while not self._server.started:
            assert time.monotonic() < end, "the proxy did not start"
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_START_SECONDS)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path in self._services and self._strip:
            return RedirectResponse(f"{path}/")
        prefix = next((served for served in self._services if path == served or path.startswith(f"{served}/")), None)
        if prefix is None:
            self.astray.append(f"{request.method} {path}")
            return PlainTextResponse("nothing here", 404)
        raw = request.scope["raw_path"].decode()
        way = raw.removeprefix(prefix) if self._strip else raw
        url = httpx.URL(f"http://127.0.0.1:{self._services[prefix]}{way}", query=request.url.query.encode())
        client = httpx.AsyncClient(timeout=None)
        headers = [(name, value) for name, value in request.headers.raw if name != b"connection"]
        requested = client.build_request(request.method, url, headers=headers, content=await request.body())
        try:
            response = await client.send(requested, stream=True)
        except httpx.TransportError:
            await client.aclose()
            return PlainTextResponse("bad gateway", 502)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for part in response.aiter_raw():
                    yield part
            finally:
                await response.aclose()
                await client.aclose()

        passed = StreamingResponse(body(), response.status_code)
        passed.raw_headers = [
            (name.lower(), value)
            for name, value in response.headers.raw
            if name.lower().decode() not in _OF_A_CONNECTION
        ]
        return passed
