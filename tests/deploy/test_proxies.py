"""The reverse proxies' configurations agree with the service's settings."""

from __future__ import annotations

import re
from pathlib import Path

from service.settings import Settings

ROOT = Path(__file__).parents[2]
NGINX = (ROOT / "deploy/nginx/touchstone.conf").read_text()


def test_nginx_strips_the_path_and_lets_bodies_through_that_the_service_takes() -> None:
    [path] = set(re.findall(r"^location (/\S+/) \{", NGINX, re.MULTILINE))
    assert re.search(r"proxy_pass http://127\.0\.0\.1:8000/;", NGINX)
    assert f"TOUCHSTONE_ROOT_PATH={path.rstrip('/')}" in NGINX
    assert Settings.model_validate({"root_path": path}).root_path == path.rstrip("/")
    [megabytes] = re.findall(r"client_max_body_size (\d+)m;", NGINX)
    assert int(megabytes) << 20 == Settings.model_fields["max_request_bytes"].default


def test_no_proxy_shows_metrics_under_any_path() -> None:
    assert re.search(r"location = /touchstone/metrics \{\s*return 404;", NGINX)
    caddy = (ROOT / "deploy/Caddyfile").read_text()
    assert "@metrics path /metrics {$TOUCHSTONE_ROOT_PATH}/metrics\n\trespond @metrics 404" in caddy
