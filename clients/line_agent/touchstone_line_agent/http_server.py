"""The agent's HTTP server: health, metrics, status page and triggers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from touchstone_line_agent import config
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part_store import PartStore
from touchstone_line_agent.payloads import decision_payload
from touchstone_line_agent.station import Station, StationStopping
from touchstone_line_agent.status_page import render_page

_MAX_WAIT_S = 60.0  # of a trigger for its decision
_CHUNK_BYTES = 64 << 10
_MAX_PARTS = 100  # on the status page


class HttpServer:
    """Serves /healthz (200 while the agent runs), /readyz (503 while there are errors), /metrics, / and triggers."""

    def __init__(
        self,
        address: config.Health,
        stations: Mapping[str, Station],
        parts: PartStore,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Listen at once. OSError, whose file name is the address, when it is in use or none of this machine's."""

        class Handler(_RequestHandler):
            agent_stations = stations
            agent_parts = parts
            agent_metrics = metrics
            agent_loop = loop

        try:
            self._server = ThreadingHTTPServer((address.host, address.port), Handler)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{address.host}:{address.port}") from error
        self._thread = Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()
        self.port = int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _RequestHandler(BaseHTTPRequestHandler):
    agent_stations: Mapping[str, Station]
    agent_parts: PartStore
    agent_metrics: Metrics
    agent_loop: asyncio.AbstractEventLoop
    timeout = _MAX_WAIT_S

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        errors = {name: station.errors for name, station in self.agent_stations.items()}
        if path == "/":
            ignored = {name: station.ignored for name, station in self.agent_stations.items()}
            page = render_page(errors, ignored, self.agent_parts.latest(_MAX_PARTS))
            self._send(200, page, "text/html; charset=utf-8")
        elif path == "/metrics":
            self._send(200, self.agent_metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/healthz":
            self._send_json(200, {"status": "live", "stations": errors})
        elif path == "/readyz":
            ready = not any(errors.values())
            self._send_json(200 if ready else 503, {"status": "ready" if ready else "not ready", "stations": errors})
        else:
            self._send_json(404, {"error": "use /, /healthz, /readyz, /metrics or POST /stations/NAME/trigger"})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._read_body()
        url = urlsplit(self.path)
        segments = [unquote(segment) for segment in url.path.strip("/").split("/")]
        query = parse_qs(url.query, keep_blank_values=True)
        station = self.agent_stations.get(segments[1]) if len(segments) == 3 else None
        if station is None or (segments[0], segments[2]) != ("stations", "trigger"):
            self._send_json(404, {"error": "no such station"})
        elif not isinstance(station.settings.trigger, config.HttpTrigger):
            self._send_json(409, {"error": "this station is not triggered over HTTP"})
        elif unknown := sorted(query.keys() - {"part_id"}):
            self._send_json(422, {"error": f"a trigger accepts part_id only, not {', '.join(unknown)}"})
        else:
            self._trigger(station, query.get("part_id", [""])[0] or None)

    def _trigger(self, station: Station, part_id: str | None) -> None:
        future = asyncio.run_coroutine_threadsafe(station.trigger(part_id), self.agent_loop)
        try:
            part, decision = future.result(_MAX_WAIT_S)
        except StationStopping as error:
            self._send_json(503, {"error": str(error)})
            return
        except TimeoutError:
            self._send_json(504, {"error": f"no decision within {_MAX_WAIT_S:g} s"})
            return
        if self._caller_disconnected():
            station.record_caller_disconnected(part)
        self._send_json(200, decision_payload(part, decision))

    def _caller_disconnected(self) -> bool:
        if not select.select([self.connection], [], [], 0)[0]:  # open, and nothing to read
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _read_body(self) -> None:
        """Discard the body; left unread, it would reset the connection before the response is read."""
        remaining = int(length) if (length := self.headers.get("Content-Length", "0")).isdecimal() else 0
        while remaining > 0 and (chunk := self.rfile.read(min(remaining, _CHUNK_BYTES))):
            remaining -= len(chunk)

    def log_message(self, *_: object) -> None:
        """Health checks are not logged."""

    def _send_json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(OSError):  # the client has disconnected
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
