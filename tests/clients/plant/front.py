"""An HTTP front before a service, as a plant's proxy is one: answers some requests itself, passes the others on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import httpx

_FILENAME = re.compile(rb'filename="([^"]*)"')


class Front:
    """answer: for a path and the name of the file that is sent, the status to answer; None passes the request on."""

    def __init__(self, service: str, answer: Callable[[str, str], int | None]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                found = _FILENAME.search(body)
                name = found[1].decode() if found else ""
                front.asked.append((self.path, name))
                status = front.answer(self.path, name)
                if status is not None:
                    self._reply(status, b"<html>says the proxy</html>", "text/html")
                    return
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                passed = httpx.request(self.command, service + self.path, content=body, headers=headers, timeout=60)
                self._reply(passed.status_code, passed.content, passed.headers["content-type"])

            do_GET = do_POST  # noqa: N815

            def _reply(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Front:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
