"""The agent's own small HTTP server: health, metrics, and triggers."""

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

from touchstone_line_agent import config, payloads
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.page import page
from touchstone_line_agent.parts import Parts
from touchstone_line_agent.station import Station

_LONGEST_S = 60.0  # that a trigger waits for its decision
_PIECE = 64 << 10
_SHOWN = 100  # parts on the page


class Web:
    """Answers /healthz (alive, and what does not work), /readyz (503 if something does not), /metrics, / and triggers.

    What is at / is for people.
    """

    def __init__(
        self,
        where: config.Health,
        stations: Mapping[str, Station],
        parts: Parts,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Listen at once. OSError when the address is taken."""

        class Handler(_Handler):
            agent_stations = stations
            agent_parts = parts
            agent_metrics = metrics
            agent_loop = loop

        self._server = ThreadingHTTPServer((where.host, where.port), Handler)
        self._thread = Thread(target=self._server.serve_forever, name="web", daemon=True)
        self._thread.start()
        self.port = int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    agent_stations: Mapping[str, Station]
    agent_parts: Parts
    agent_metrics: Metrics
    agent_loop: asyncio.AbstractEventLoop
    timeout = _LONGEST_S

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        trouble = {name: station.trouble for name, station in self.agent_stations.items()}
        if path == "/":
            ignored = {name: station.ignored for name, station in self.agent_stations.items()}
            self._send(200, page(trouble, ignored, self.agent_parts.latest(_SHOWN)), "text/html; charset=utf-8")
        elif path == "/metrics":
            self._send(200, self.agent_metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/healthz":
            self._json(200, {"status": "live", "stations": trouble})
        elif path == "/readyz":
            well = not any(trouble.values())
            self._json(200 if well else 503, {"status": "ready" if well else "not ready", "stations": trouble})
        else:
            self._json(404, {"error": "there are /, /healthz, /readyz, /metrics and POST /stations/NAME/trigger"})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._read_body()
        asked = urlsplit(self.path)
        parts = [unquote(each) for each in asked.path.strip("/").split("/")]
        given = parse_qs(asked.query, keep_blank_values=True)
        station = self.agent_stations.get(parts[1]) if len(parts) == 3 else None
        if station is None or (parts[0], parts[2]) != ("stations", "trigger"):
            self._json(404, {"error": "no such station"})
        elif not isinstance(station.settings.trigger, config.HttpTrigger):
            self._json(409, {"error": "this station is not triggered over HTTP"})
        elif unknown := sorted(given.keys() - {"part_id"}):
            self._json(422, {"error": f"a trigger takes part_id only, not {', '.join(unknown)}"})
        else:
            part_id = given.get("part_id", [""])[0] or None
            taking = asyncio.run_coroutine_threadsafe(station.trigger(part_id), self.agent_loop)
            try:
                part, decided = taking.result(_LONGEST_S)
            except TimeoutError:
                self._json(504, {"error": f"no decision within {_LONGEST_S:g} s"})
                return
            if self._caller_is_gone():
                station.not_answered(part)
            self._json(200, payloads.decision(part, decided))

    def _caller_is_gone(self) -> bool:
        if not select.select([self.connection], [], [], 0)[0]:  # still there, and has nothing more to say
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _read_body(self) -> None:
        """Nothing is looked for in it; but unread, it would reset the connection before the answer is read."""
        left = int(length) if (length := self.headers.get("Content-Length", "0")).isdecimal() else 0
        while left > 0 and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)

    def log_message(self, *_: object) -> None:
        """Health checks are not worth a log line."""

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(OSError):  # whoever asked does not wait for the answer
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
