"""Compacts small segments in the background."""

from __future__ import annotations

import threading

from indexer.references.reference_store import ReferenceStore


class Compaction:
    """Compacts segments, when the snapshot has changed and it is worth it: apart, since it may take seconds."""

    def __init__(self, reference_store: ReferenceStore) -> None:
        self._reference_store = reference_store
        self._tidied = 0

    def round(self, _: threading.Event) -> None:
        """See `Task`."""
        version = self._reference_store.memory.version
        if version != self._tidied:
            self._reference_store.compact_if_needed()
            self._tidied = version
