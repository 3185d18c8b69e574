"""What both clients tell httpx, and how its failures are named."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from importlib.metadata import version
from typing import TypedDict

import httpx

from touchstone_client.access_key import checked
from touchstone_client.errors import Unreachable


class Way(TypedDict):
    """Whether httpx asks the environment's proxies, and which certificates it trusts."""

    trust_env: bool
    verify: ssl.SSLContext | bool


class ConnectionSettings(Way):
    """Arguments that httpx's two clients share."""

    base_url: str
    headers: dict[str, str]
    follow_redirects: bool


def connection_settings(url: str, key: str | None) -> ConnectionSettings:
    """For the service at a url, with an access key if it wants one. ValueError when the url is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is not the address of a service: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is not the address of a service: give one like http://127.0.0.1:8000")
    headers = {"User-Agent": f"touchstone-client/{version('touchstone-client')}", "Accept": "application/json, */*"}
    if key is not None:
        headers["Authorization"] = f"Bearer {checked(key)}"
    return ConnectionSettings(base_url=url, headers=headers, follow_redirects=False, **way_to(url))


def way_to(url: str) -> Way:
    """How to reach a URL: this machine, and what NO_PROXY names, without a proxy; all else as the environment says.

    httpx itself sends loopback addresses to a proxy, and takes networks in NO_PROXY (10.0.0.0/8) for host names.
    """
    parsed = httpx.URL(url)
    if not (_is_this_machine(parsed.host) or _is_excepted(parsed)):
        return Way(trust_env=True, verify=True)
    # Certificates that the environment names are trusted either way.
    return Way(trust_env=False, verify=httpx.create_ssl_context() if parsed.scheme == "https" else True)


def _is_this_machine(host: str) -> bool:
    name = host.rstrip(".").lower()
    address = _address(host)
    return (
        name == "localhost"
        or name.endswith(".localhost")
        or (address is not None and (address.is_loopback or address.is_unspecified))
    )


def _is_excepted(url: httpx.URL) -> bool:
    if urllib.request.proxy_bypass(url.netloc.decode("ascii")) or urllib.request.proxy_bypass(url.host):
        return True
    address = _address(url.host)
    excepted = urllib.request.getproxies().get("no", "").split(",")
    return address is not None and any(address in network for network in map(_network, excepted) if network is not None)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def interrupted(request: httpx.Request, error: httpx.RequestError) -> Unreachable:
    """The error for a request that got no answer."""
    where = f"{request.method} {request.url.copy_with(query=None)}"
    what = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return Unreachable(f"{where}: {what}")
