"""A server that answers as a test says."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, dict[str, str], str]  # status, headers, body; status 0 hangs up


@dataclass
class Scripted:
    """A real HTTP server that gives these answers in order, the last one for ever, and remembers what it was asked."""

    answers: list[Answer]
    delay: float = 0.0
    asked: list[tuple[float, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.asked.append((time.monotonic(), self.path, headers, body))
                time.sleep(script.delay)
                status, more, text = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                if status == 0:
                    self.connection.close()
                    return
                self.send_response_only(status)  # without a Date of its own
                for name, value in {"content-length": str(len(text)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

            def finish(self) -> None:
                with contextlib.suppress(ValueError):  # it hung up as told
                    super().finish()

        return Handler


@contextmanager
def scripted(*answers: Answer, delay: float = 0.0) -> Iterator[Scripted]:
    script = Scripted(list(answers), delay)
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
