"""Recalibrates categories whose references or settings changed, at the lowest priority of the inference worker."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeVar

from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.calibration.serialisation import to_stored
from indexer.domain.errors import CategoryNotFound
from indexer.domain.geometry import InputGeometry
from indexer.domain.leave_one_out import StoredCalibration
from indexer.domain.scoring_settings import ScoringSettings
from indexer.memory import MemoryBank
from indexer.references.reference_store import ReferenceStore
from indexer.references.stored_calibrations import read_stored
from indexer.scoring.image_statistics import ImageStatistics
from indexer.search import PatchSearchEngine
from service.background.supervisor import for_each
from service.background.worker_steps import run_steps
from service.inference.worker import InferenceWorker

T = TypeVar("T")


@dataclass(frozen=True)
class CalibrationBasis:
    """What a calibration depends on: the category's live references, how they are encoded and how they are scored.

    geometry: of the category; None for the memory's own, which categories had before each had one of its own. coreset:
    the id of the one that is searched.
    """

    references: tuple[int, ...]
    codec: str
    settings: ScoringSettings
    geometry: InputGeometry | None
    coreset: int | None

    @classmethod
    def of(cls, memory: MemoryBank, category: str, settings: ScoringSettings) -> CalibrationBasis:
        """As a snapshot has it now."""
        references = tuple(sorted(memory.ids[memory.rows_of(category)].tolist()))
        geometry, coreset = _own_geometry(memory, category), _searched_coreset(memory, category)
        return cls(references, memory.codec.name, settings, geometry, coreset)

    @property
    def key(self) -> str:
        """A name of 16 characters, the same in every process."""
        facts: list[object] = [self.references, self.codec, asdict(self.settings)]
        if self.geometry is not None:
            facts.append(self.geometry.to_json())
        if self.coreset is not None:
            facts.append(self.coreset)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @cached_property
    def members(self) -> frozenset[int]:
        """The same references, to look one up in."""
        return frozenset(self.references)

    def is_of(self, result: LeaveOneOut) -> bool:
        """Whether these leave-one-out results are the ones it needs."""
        same = (result.k, result.rho, result.coreset) == (self.settings.k, self.settings.rho, self.coreset)
        return same and tuple(result.ids.tolist()) == self.references


class _Outdated(Exception):
    """The references have changed since a calibration was begun."""


@dataclass(frozen=True)
class _Unsaved:
    """Leave-one-out results of a memory that are not in the catalogue yet, and those they were made from."""

    memory_id: int
    results: StoredCalibration
    base: StoredCalibration | None


class CalibrationManager:
    """The latest finished calibration of each category, and the task that renews them.

    A reference is scored against its own category only, so that onboarding one product never moves another's threshold.
    Work is done in steps at the lowest priority: a detection waits for one step at most. Results are kept in the
    catalogue, so that a restart, or another process on the same data, finds them; the next change starts from them.
    """

    def __init__(self, worker: InferenceWorker, engine: PatchSearchEngine, reference_store: ReferenceStore) -> None:
        self._worker = worker
        self._engine = engine
        self._reference_store = reference_store
        self._finished: dict[str, tuple[CalibrationBasis, Calibration]] = {}
        self._foreseen: dict[str, tuple[CalibrationBasis, Calibration]] = {}
        self._of_references: dict[str, tuple[CalibrationBasis, Calibration]] = {}  # while a coreset is searched
        self._unsaved: dict[str, _Unsaved] = {}
        self._progress: dict[str, float] = {}

    def of(self, category: str) -> Calibration | None:
        """The latest finished calibration, even if references have come or gone since.

        None of another geometry, and none of which all references are gone: a category that was removed and has been
        created anew under its name is another product. Scores in a coreset are higher than among all references: where
        there is one of what is searched now, it counts before others.
        """
        memory = self._reference_store.memory
        geometry, ids = _own_geometry(memory, category), memory.ids[memory.rows_of(category)].tolist()
        searched = _searched_coreset(memory, category)
        usable = [
            result
            for results in (self._finished, self._foreseen, self._of_references)
            if (result := results.get(category)) is not None
            and result[0].geometry == geometry
            and (not result[0].members or not result[0].members.isdisjoint(ids))
        ]
        chosen = next((result for result in usable if result[0].coreset == searched), usable[0] if usable else None)
        return None if chosen is None else chosen[1]

    def foresee(self, memory: MemoryBank, category: str, settings: ScoringSettings, searched: LeaveOneOut) -> None:
        """Make the calibration of a category under a geometry, or in a coreset, that it is about to get.

        It counts from the moment that it does. memory: its references, encoded so. searched: among them.
        """
        basis = CalibrationBasis.of(memory, category, settings)
        weighed = searched.balance_layers(memory.frame(category), settings)
        measures = run_steps(self._worker, _measured(searched, memory, category, weighed))
        calibration = _calibration(category, memory.version, basis, measures, searched, weighed)
        self._foreseen[category] = basis, calibration

    def is_current(self, memory: MemoryBank, category: str, settings: ScoringSettings) -> bool:
        """Whether the latest calibration is of the references and settings there are now."""
        result = self._finished.get(category)
        return result is not None and result[0] == CalibrationBasis.of(memory, category, settings)

    def progress(self, category: str) -> float:
        """How much of the calibration in progress is done, 0 to 1."""
        return self._progress.get(category, 0.0)

    def searches(self, category: str) -> LeaveOneOut | None:
        """The searches that its latest calibration was made from, as they are kept."""
        stored = read_stored(self._reference_store, category)
        return None if stored is None else stored[1]

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: calibrate whatever is out of date, and forget categories that are gone.

        A category that cannot be calibrated keeps none of the others from it.
        """
        published = self._reference_store.published
        by_category: tuple[dict[str, Any], ...] = (
            self._finished,
            self._foreseen,
            self._of_references,
            self._unsaved,
        )
        for values in by_category:
            for removed in values.keys() - published.settings.keys():
                del values[removed]
        for_each(self._calibrate, {category: category for category in published.settings}, stopping)

    def _calibrate(self, category: str) -> None:
        try:
            self._renew(category)
            self._save(category)
        finally:
            self._progress.pop(category, None)

    def _renew(self, category: str) -> None:
        published = self._reference_store.published
        memory, settings = published.memory, published.settings.get(category)
        if settings is None:
            return
        scoring = settings.scoring
        basis = CalibrationBasis.of(memory, category, scoring)
        latest = self._finished.get(category)
        if latest is not None and latest[0] == basis:
            return
        stored = read_stored(self._reference_store, category)
        if stored is not None and basis.is_of(stored[1]):
            version, result = stored
        else:
            version = memory.version
            before = None if stored is None else stored[1]
            steps = leave_one_out(memory, self._engine, category, scoring.k, scoring.rho, before)
            searched = self._run(steps, memory, category, basis)
            if searched is None:
                return  # references have changed meanwhile: the next round starts from what there is then
            result = searched
            if published.superseded_by is None:
                base = None if stored is None else to_stored(*stored)
                self._unsaved[category] = _Unsaved(published.memory_id, to_stored(version, result), base)
        weighed = result.balance_layers(memory.frame(category), scoring)
        statistics = self._run(_measured(result, memory, category, weighed), memory, category, basis)
        if statistics is not None:
            self._replace(category, basis, _calibration(category, version, basis, statistics, result, weighed))

    def _replace(self, category: str, basis: CalibrationBasis, calibration: Calibration) -> None:
        """Let a calibration be the latest. That of the references is for when the coreset is not searched any more."""
        before, foreseen = self._finished.get(category), self._foreseen.get(category)
        self._finished[category] = basis, calibration
        if before is not None and before[0].coreset is None and basis.coreset is not None:
            self._of_references[category] = before
        elif basis.coreset is None:
            self._of_references.pop(category, None)
        if foreseen is not None and (foreseen[0].geometry, foreseen[0].coreset) == (basis.geometry, basis.coreset):
            del self._foreseen[category]

    def _save(self, category: str) -> None:
        """Store the calibration in the catalogue; while that is unavailable, the calibration is used unstored."""
        unsaved = self._unsaved.get(category)
        if unsaved is not None:
            with suppress(CategoryNotFound):  # it was removed meanwhile
                self._reference_store.catalogue.calibrations.store(
                    category, unsaved.memory_id, unsaved.results, unsaved.base
                )
            del self._unsaved[category]

    def _run(
        self, steps: Generator[float, None, T], memory: MemoryBank, category: str, basis: CalibrationBasis
    ) -> T | None:
        """What the steps return, taken one a turn; None when the category's references have changed.

        memory: the snapshot that the basis is of. What was published since, before the first step or during the last,
        counts as well.
        """

        def check(done: float) -> None:
            nonlocal memory
            self._progress[category] = done
            newest = self._reference_store.memory
            if newest is not memory and CalibrationBasis.of(newest, category, basis.settings) != basis:
                raise _Outdated
            memory = newest

        try:
            return run_steps(self._worker, steps, check)
        except _Outdated:
            return None


def _own_geometry(memory: MemoryBank, category: str) -> InputGeometry | None:
    """See `CalibrationBasis.geometry`."""
    geometry = memory.geometry_of(category)
    return None if geometry == memory.space.global_geometry else geometry


def _searched_coreset(memory: MemoryBank, category: str) -> int | None:
    """See `CalibrationBasis.coreset`."""
    coreset = memory.searched_coreset(category, memory.frame(category).grid)
    return None if coreset is None else coreset.id


def _calibration(
    category: str,
    version: int,
    basis: CalibrationBasis,
    measures: Sequence[tuple[int, ImageStatistics]],
    searched: LeaveOneOut,
    weighed: ScoringSettings,
) -> Calibration:
    return Calibration.from_statistics(
        category,
        version,
        basis.key,
        [statistics for _, statistics in measures],
        searched.duplicates,
        [reference_id for reference_id, _ in measures],
        weighed.layer_weights,
    )


def _measured(
    result: LeaveOneOut, memory: MemoryBank, category: str, settings: ScoringSettings
) -> Generator[float, None, list[tuple[int, ImageStatistics]]]:
    statistics = []
    for statistic in result.statistics(memory, memory.frame(category), settings):
        statistics.append(statistic)
        yield 1.0
    return statistics
