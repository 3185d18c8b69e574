"""Answers Grafana's health path once every provisioned file is there, well formed and readable by Grafana's user."""

import http.server
import json
import os
import pathlib

import yaml

ROOT = pathlib.Path("/etc/grafana/provisioning")
for file in ROOT.glob("*/*.yml"):
    for provider in yaml.safe_load(file.read_text()).get("providers", ()):
        dashboards = list(pathlib.Path(provider["options"]["path"]).glob("*.json"))
        assert dashboards, file
        for dashboard in dashboards:
            json.loads(dashboard.read_text())
assert yaml.safe_load((ROOT / "datasources/prometheus.yml").read_text())["datasources"]
assert pathlib.Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text().strip()


class Health(http.server.BaseHTTPRequestHandler):
    """The one path that the health check asks for."""

    def do_GET(self) -> None:
        """200 for the health path, 404 for any other."""
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()


http.server.HTTPServer(("", 3000), Health).serve_forever()
