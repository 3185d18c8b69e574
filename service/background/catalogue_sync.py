"""Publishes a new snapshot when any process has committed to the catalogue."""

from __future__ import annotations

import threading
import time

from indexer.references.reference_store import ReferenceStore

_RELOAD_SECONDS = 30.0  # between attempts to read damaged segments again


class CatalogueSync:
    """Publishes what other processes commit, and damaged segments once they have been restored."""

    def __init__(self, reference_store: ReferenceStore) -> None:
        self._reference_store = reference_store
        self._reload_at = time.monotonic() + _RELOAD_SECONDS

    def round(self, _: threading.Event) -> None:
        """See `Task`."""
        self._reference_store.refresh()
        if self._reference_store.corrupt_segments and time.monotonic() >= self._reload_at:
            self._reload_at = time.monotonic() + _RELOAD_SECONDS
            self._reference_store.reload_damaged()
