"""Reads the API keys again, several times a second."""

from __future__ import annotations

import threading

from indexer.catalogue.timeouts import patient
from service.auth.api_key_cache import KeyRing

_KEY_PATIENCE_SECONDS = 2.0  # for one look


def refresh_keys(ring: KeyRing, _: threading.Event) -> None:
    with patient(
        lock=_KEY_PATIENCE_SECONDS, answer=_KEY_PATIENCE_SECONDS
    ):  # it is what first notices that a database answers again
        ring.refresh()
