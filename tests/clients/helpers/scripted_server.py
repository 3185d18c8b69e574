"""An HTTP server that returns what a test scripted."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

Response: TypeAlias = tuple[int, dict[str, str], str]
"""Status, headers, body; status 0 closes the connection."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as received. received_at: seconds on the monotonic clock. headers: by lower-case name."""

    received_at: float
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    """Returns the responses in order and repeats the last one; records the requests."""

    responses: list[Response]
    delay: float = 0.0
    requests: list[ReceivedRequest] = field(default_factory=list)
    url: str = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """The request handler of this script."""
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.requests.append(ReceivedRequest(time.monotonic(), self.path, headers, body))
                time.sleep(script.delay)
                remaining = script.responses
                status, extra, text = remaining.pop(0) if len(remaining) > 1 else remaining[0]
                if status == 0:
                    self.connection.close()
                    return
                self.send_response_only(status)  # adds no Date of its own
                for name, value in {"content-length": str(len(text)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """No log."""

            def finish(self) -> None:
                with contextlib.suppress(ValueError):  # the connection was closed by the script
                    super().finish()

        return Handler


@contextmanager
def scripted_server(*responses: Response, delay: float = 0.0) -> Iterator[ScriptedServer]:
    """A server with this script. delay: seconds before each response."""
    script = ScriptedServer(list(responses), delay)
    server = ThreadingHTTPServer(("127.0.0.1", 0), script.handler())
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
