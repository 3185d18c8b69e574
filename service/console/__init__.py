"""Serves the console: pages that hold no data, in which a browser shows what it asks of the API."""

from service.console.pages import install

__all__ = ["install"]
