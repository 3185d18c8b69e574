"""What both clients tell httpx, and how its failures are named."""

from __future__ import annotations

from importlib.metadata import version
from typing import TypedDict

import httpx

from touchstone_client.errors import Unreachable


class ConnectionSettings(TypedDict):
    """Arguments that httpx's two clients share."""

    base_url: str
    headers: dict[str, str]
    follow_redirects: bool


def connection_settings(url: str, key: str | None) -> ConnectionSettings:
    """For the service at a url, with an access key if it wants one. ValueError when the url is none."""
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is not the address of a service: give one like http://127.0.0.1:8000")
    headers = {"User-Agent": f"touchstone-client/{version('touchstone-client')}", "Accept": "application/json, */*"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return ConnectionSettings(base_url=url, headers=headers, follow_redirects=False)


def interrupted(request: httpx.Request, error: httpx.TransportError) -> Unreachable:
    """The error for a request that got no answer."""
    where = f"{request.method} {request.url.copy_with(query=None)}"
    what = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return Unreachable(f"{where}: {what}")
