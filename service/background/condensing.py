"""Makes the coresets that are asked for, and makes one anew once its category has changed too much for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.domain.coreset import CoresetRecord
from indexer.domain.errors import CategoryNotFound, CoresetNotFound, MemoryInactive
from indexer.domain.geometry import InputGeometry
from indexer.jobs.condense import condense, put_to_use
from indexer.memory import MemoryBank
from service.background.calibration_manager import CalibrationManager
from service.background.supervisor import for_each
from service.background.worker_steps import run_steps
from service.inference.resources import InferenceResources

_MIN_BESIDE = 4  # references searched beside a coreset before it is made anew
_MAX_BESIDE_SHARE = 0.25  # of its patches
_LOOK_SECONDS = 1.0  # between looks at whether a coreset is still asked for

log = logging.getLogger("touchstone")


class _Abandoned(Exception):
    """The service stops, or the coreset would not be used."""


@dataclass(frozen=True)
class _Basis:
    """What a coreset is made from: the ids of a category's references, and how they are inspected."""

    references: frozenset[int]
    geometry: InputGeometry

    @classmethod
    def of(cls, memory: MemoryBank, category: str) -> _Basis:
        """As a snapshot has it."""
        ids = memory.ids[memory.rows_of(category)].tolist()
        return cls(frozenset(ids), memory.geometry_of(category))

    def includes(self, earlier: _Basis) -> bool:
        """Whether a coreset of an earlier one could be searched."""
        return self.geometry == earlier.geometry and self.references >= earlier.references


class Condensing:
    """The task. Patches are chosen and references scored in steps, behind all other work.

    A coreset that cannot be made waits, with the reason, until its references change. One that is not searched, because
    one of its references was removed or its file is damaged, is made anew, once for the same references; so is one that
    many references are searched beside. Several processes may make the same one: the first to finish wins.
    """

    def __init__(self, resources: InferenceResources, calibrations: CalibrationManager) -> None:
        self._worker = resources.worker
        self._engine = resources.engine
        self._reference_store = resources.reference_store
        self._coresets = resources.reference_store.catalogue.coresets
        self._calibrations = calibrations
        self._refused: dict[int, _Basis] = {}  # what could not be made, by the request's id
        self._renewed: dict[str, _Basis] = {}  # for which a category's coreset was last asked for again
        self._progress: dict[str, float] = {}

    def progress(self, category: str) -> float:
        """How much of the coreset in progress is done, 0 to 1."""
        return self._progress.get(category, 0.0)

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: make what is asked for, and ask again for what is out of date."""
        published = self._reference_store.published
        if published.superseded_by is not None:
            return
        requested = self._coresets.requested()
        by_category: dict[str, list[CoresetRecord]] = {}
        for record in (*self._coresets.finished(published.memory_id), *requested):
            if record.category in published.settings:
                by_category.setdefault(record.category, []).append(record)
        self._refused = {record.id: self._refused[record.id] for record in requested if record.id in self._refused}
        self._renewed = {name: basis for name, basis in self._renewed.items() if name in by_category}
        for_each(lambda records: self._look_after(records, stopping), by_category, stopping)

    def _look_after(self, records: Sequence[CoresetRecord], stopping: threading.Event) -> None:
        """records: a category's finished coreset and the one that is asked for, as far as there are any."""
        latest: CoresetRecord | None = records[-1]
        if latest is not None and latest.result is not None:
            latest = self._asked_again(latest)
        if latest is not None:
            try:
                self._make(latest, stopping)
            finally:
                self._progress.pop(latest.category, None)

    def _asked_again(self, finished: CoresetRecord) -> CoresetRecord | None:
        """The request to make a finished coreset anew; None where it is to stay."""
        category, memory = finished.category, self._reference_store.memory
        if not self._is_outdated(finished, memory):
            return None
        memory = self._reference_store.refresh()  # another process may have changed something meanwhile
        basis = _Basis.of(memory, category)
        if self._renewed.get(category) == basis or not self._is_outdated(finished, memory):
            return None
        self._renewed[category] = basis
        return self._coresets.renew(finished.id)

    def _is_outdated(self, finished: CoresetRecord, memory: MemoryBank) -> bool:
        searched = memory.coresets.get(finished.category)
        if searched is None or searched.id < finished.id:
            return True
        patches = len(searched.rows)
        beside = memory.searchable_rows(finished.category) - patches
        return beside >= _MIN_BESIDE and beside > _MAX_BESIDE_SHARE * patches

    def _make(self, record: CoresetRecord, stopping: threading.Event) -> None:
        published, category = self._reference_store.published, record.category
        memory, settings = published.memory, published.settings.get(category)
        basis = _Basis.of(memory, category)
        if settings is None or self._refused.get(record.id) == basis:
            return
        scoring, seen, looked = settings.scoring, memory, time.monotonic()

        def check(done: float) -> None:
            nonlocal seen, looked
            self._progress[category] = done
            if stopping.is_set():
                raise _Abandoned
            newest = self._reference_store.memory
            if newest is not seen and not _Basis.of(newest, category).includes(basis):
                raise _Abandoned
            seen = newest
            if time.monotonic() - looked > _LOOK_SECONDS:
                if record.id not in (requested.id for requested in self._coresets.requested()):
                    raise _Abandoned
                looked = time.monotonic()

        try:
            try:
                steps = condense(record, memory, self._engine, scoring)
                condensed = run_steps(self._worker, steps, check)
            except ValueError as error:
                self._refuse(record, basis, str(error))
                return
            self._calibrations.foresee(condensed.memory, category, scoring, condensed.searched)
            store = self._reference_store
            result = put_to_use(store.folder, store.catalogue, published.memory_id, condensed)
        except (_Abandoned, CoresetNotFound, MemoryInactive, CategoryNotFound):
            return  # another round makes it, another process has, or nobody wants it any more
        store.refresh()
        log.info(
            "%s is condensed: %d of %d patches in each place are searched, no score rises by more than %.3g",
            category,
            result.patches,
            result.references,
            max(result.radii),
        )

    def _refuse(self, record: CoresetRecord, basis: _Basis, error: str) -> None:
        self._refused[record.id] = basis
        if error != record.error:
            self._coresets.note_error(record.id, error)
            log.warning("%s is not condensed: %s", record.category, error)
