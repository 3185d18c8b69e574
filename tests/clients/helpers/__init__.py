"""Servers, proxies and plant machines for the tests of the clients."""
