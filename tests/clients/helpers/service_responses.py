"""Responses of the service, for scripted servers."""

from __future__ import annotations

import json

from tests.clients.helpers.scripted_server import Response

LIVE: Response = (200, {}, json.dumps({"status": "live"}))
HANG_UP: Response = (0, {}, "")


def error_response(slug: str, status: int, **headers: str) -> Response:
    """An error document of this problem type."""
    body = {"type": f"/problems/{slug}", "title": "t", "status": status, "detail": f"about {slug}", "request_id": "r"}
    return status, {"content-type": "application/problem+json", **headers}, json.dumps(body)
