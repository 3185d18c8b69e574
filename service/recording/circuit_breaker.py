"""A circuit breaker: after one detection has waited for the database in vain, the others skip it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.timeouts import patient
from indexer.domain.errors import CatalogueBusy, CatalogueError, CatalogueUnavailable

_LOCK_SECONDS = 5.0  # that a detection waits for another writer
_ANSWER_SECONDS = 2.0  # and for a database that says nothing
_IN_VAIN_SECONDS = 0.5  # a failure that took longer would hold up every detection; one that comes at once costs nothing
_PAUSE_SECONDS = 2.0


class CircuitBreaker:
    """Decides whether a detection queries the database. Thread-safe.

    After a slow failure, detections skip the database for two seconds, and on until a query outside of detections
    succeeds. While it fails immediately, each detection tries again.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._resumes = 0.0
        self._others_find_out = False

    def closed(self) -> bool:
        """Whether to ask."""
        if time.monotonic() < self._resumes:
            return False
        if self._catalogue.answering:
            return True
        if self._others_find_out:
            return False
        try:
            with self.asking():
                self._catalogue.version()
        except CatalogueError:
            return False
        return True

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask with a detection's patience."""
        begun = time.monotonic()
        try:
            with patient(lock=_LOCK_SECONDS, answer=_ANSWER_SECONDS):
                yield
        except (CatalogueBusy, CatalogueUnavailable):
            if time.monotonic() - begun > _IN_VAIN_SECONDS:
                self._others_find_out = True
                self._resumes = time.monotonic() + _PAUSE_SECONDS
            raise
        else:
            self._others_find_out = False
