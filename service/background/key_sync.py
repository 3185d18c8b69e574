"""Refreshes the API key cache several times per second."""

from __future__ import annotations

import threading

from indexer.catalogue.timeouts import patient
from service.auth.api_key_cache import ApiKeyCache

_TIMEOUT_SECONDS = 2.0  # for one look


def refresh_keys(api_keys: ApiKeyCache, _: threading.Event) -> None:
    with patient(
        lock=_TIMEOUT_SECONDS, answer=_TIMEOUT_SECONDS
    ):  # it is what first notices that a database answers again
        api_keys.refresh()
