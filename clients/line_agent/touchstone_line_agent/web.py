"""The agent's own small HTTP server: health, metrics, and triggers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from touchstone_line_agent import config, payloads
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.station import Station

_LONGEST_S = 60.0  # that a trigger waits for its decision


class Web:
    """Answers /healthz (alive, and what does not work), /readyz (503 if something does not), /metrics, triggers."""

    def __init__(
        self, where: config.Health, stations: Mapping[str, Station], metrics: Metrics, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Listen at once. OSError when the address is taken."""

        class Handler(_Handler):
            agent_stations = stations
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
    agent_metrics: Metrics
    agent_loop: asyncio.AbstractEventLoop
    timeout = _LONGEST_S

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        trouble = {name: station.trouble for name, station in self.agent_stations.items()}
        if path == "/metrics":
            self._send(200, self.agent_metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/healthz":
            self._json(200, {"status": "live", "stations": trouble})
        elif path == "/readyz":
            well = not any(trouble.values())
            self._json(200 if well else 503, {"status": "ready" if well else "not ready", "stations": trouble})
        else:
            self._json(404, {"error": "there are /healthz, /readyz, /metrics and POST /stations/NAME/trigger"})

    def do_POST(self) -> None:
        asked = urlsplit(self.path)
        parts = [unquote(each) for each in asked.path.strip("/").split("/")]
        station = self.agent_stations.get(parts[1]) if len(parts) == 3 else None
        if station is None or (parts[0], parts[2]) != ("stations", "trigger"):
            self._json(404, {"error": "no such station"})
        elif not isinstance(station.settings.trigger, config.HttpTrigger):
            self._json(409, {"error": "this station is not triggered over HTTP"})
        else:
            part_id = parse_qs(asked.query).get("part_id", [None])[0]
            taking = asyncio.run_coroutine_threadsafe(station.trigger(part_id and part_id[:128]), self.agent_loop)
            self._json(200, payloads.decision(*taking.result(_LONGEST_S)))

    def log_message(self, *_: object) -> None:
        """Health checks are not worth a log line."""

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
