"""Servers, proxies and machines that the clients' tests talk to."""
