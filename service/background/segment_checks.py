"""Verifies the checksums of mapped segments in the background: they are served before all of them have been read."""

from __future__ import annotations

import threading

from indexer.references.reference_store import ReferenceStore

_PAUSE_SECONDS = 0.01  # after every 4 MB


class SegmentChecks:
    """Verifies each mapped segment once after the start; damaged ones are no longer served."""

    def __init__(self, reference_store: ReferenceStore) -> None:
        self._reference_store = reference_store

    def round(self, stopping: threading.Event) -> None:
        """See `Task`."""
        self._reference_store.verify_mapped(lambda: stopping.wait(_PAUSE_SECONDS))
