"""An HTTP reverse proxy in front of a service, which responds to some requests itself and forwards the others."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import httpx

_FILENAME = re.compile(rb'filename="([^"]*)"')


class HttpFront:
    """status: for a request's path and file name, the status to respond with; None forwards the request.

    It is called on the request's own thread, and may wait.
    """

    def __init__(self, service: str, status: Callable[[str, str], int | None]) -> None:
        self.status = status
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                match = _FILENAME.search(body)
                name = match[1].decode() if match else ""
                if self.command != "PUT":  # a station's reports, which come at any time
                    front.requests.append((self.path, name))
                    front.bodies.append(body)
                status = front.status(self.path, name)
                if status is not None:
                    self._reply(status, b"<html>from the proxy</html>", "text/html")
                    return
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                response = httpx.request(self.command, service + self.path, content=body, headers=headers, timeout=60)
                self._reply(response.status_code, response.content, response.headers["content-type"])

            do_GET = do_PUT = do_POST  # noqa: N815

            def _reply(self, status: int, body: bytes, media_type: str) -> None:
                self.send_response(status)
                self.send_header("content-type", media_type)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """No log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HttpFront:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
