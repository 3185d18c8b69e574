"""Which URLs are reached without a proxy: this machine, and what NO_PROXY names."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from typing import TypedDict

import httpx


class ProxyOptions(TypedDict):
    """Arguments of httpx's clients: whether the environment's proxies are used, which certificates are trusted."""

    trust_env: bool
    verify: ssl.SSLContext | bool


def proxy_options(url: str) -> ProxyOptions:
    """Options to reach a URL through the environment's proxies, unless it is exempt.

    httpx on its own sends loopback addresses to a proxy, and reads networks in NO_PROXY (10.0.0.0/8) as host names.
    """
    parsed = httpx.URL(url)
    if not (_is_loopback(parsed.host) or _is_exempt(parsed)):
        return ProxyOptions(trust_env=True, verify=True)
    # Certificates that the environment names are trusted either way.
    return ProxyOptions(trust_env=False, verify=httpx.create_ssl_context() if parsed.scheme == "https" else True)


def _is_loopback(host: str) -> bool:
    name = host.rstrip(".").lower()
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    return name == "localhost" or name.endswith(".localhost")


def _is_exempt(url: httpx.URL) -> bool:
    if urllib.request.proxy_bypass(url.netloc.decode("ascii")) or urllib.request.proxy_bypass(url.host):
        return True
    address = _address(url.host)
    if address is None:
        return False
    networks = map(_network, urllib.request.getproxies().get("no", "").split(","))
    return any(address in network for network in networks if network is not None)


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
