"""Encodes categories again whose geometry is to change, and switches each once all of it is encoded and calibrated."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from indexer.calibration.leave_one_out import leave_one_out
from indexer.calibration.serialisation import to_stored
from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound, GeometryNotFound
from indexer.domain.geometry import InputGeometry
from indexer.domain.leave_one_out import StoredCalibration
from indexer.domain.reference import Reference
from indexer.domain.snapshot import GeometryChange
from indexer.jobs.geometry_change import GeometryChangeJob, Stopped
from indexer.jobs.reencoder import ImagesUnreadable, Reencoded
from indexer.memory import EncodedReferences, MemoryBank, join
from indexer.references.stored_image import prepare_stored
from service.background.calibration_manager import CalibrationManager
from service.background.supervisor import for_each
from service.background.worker_steps import encode_reference, run_steps
from service.inference.resources import InferenceResources

log = logging.getLogger("touchstone")


class GeometryChanges:
    """The task. Images are decoded on its own thread; each goes through the encoder behind all other work.

    Encoded references are stored, so that a restart continues where it stopped. A change whose images cannot all be
    read waits, with the reason, and is tried again in every round.
    """

    def __init__(self, resources: InferenceResources, calibrations: CalibrationManager) -> None:
        self._worker = resources.worker
        self._encoder = resources.encoder
        self._engine = resources.engine
        self._reference_store = resources.reference_store
        self._preprocess = resources.preprocess
        self._limits = resources.limits
        self._calibrations = calibrations

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: complete all pending changes."""
        published = self._reference_store.published
        if published.superseded_by is not None:
            return
        changes = self._reference_store.catalogue.geometries.changes(published.memory_id)
        by_category = {change.record.category: change for change in changes}
        for_each(lambda change: self._bring_about(change, stopping), by_category, stopping)

    def _bring_about(self, change: GeometryChange, stopping: threading.Event) -> None:
        record, geometries = change.record, self._reference_store.catalogue.geometries
        geometry = InputGeometry.from_json(record.geometry_json)
        codec = self._reference_store.memory.codec
        job = GeometryChangeJob(
            self._reference_store.folder, self._reference_store.catalogue, self._encoder.space, codec, record
        )
        log.info("re-encoding %s for the geometry %s", record.category, geometry.described)
        try:
            done = job.run(
                self._encode,
                calibrate=lambda memory: self._calibrated(memory, record.category, stopping),
                stopping=stopping.is_set,
            )
        except (Stopped, GeometryNotFound, CategoryNotFound):  # another round, or given up
            return
        except ImagesUnreadable as unreadable:
            names = ", ".join(f"{reference.id} ({reference.filename})" for reference in unreadable.references[:3])
            error = (
                f"{len(unreadable.references)} images cannot be encoded so, for example of reference {names}: take "
                "them back, or cancel the change."
            )
            if error != record.error:
                geometries.note_error(record.id, error)
                log.error("%s: %s", record.category, error)
            return
        self._reference_store.refresh()
        log.info(
            "%s is inspected at %s from version %d on: %d references",
            record.category,
            geometry.described,
            done.version,
            done.references,
        )

    def _encode(self, references: Sequence[Reference], geometry: InputGeometry) -> Reencoded:
        codec = self._reference_store.memory.codec
        ids: list[int] = []
        parts: list[EncodedReferences] = []
        unreadable: list[Reference] = []
        for reference in references:
            prepared = prepare_stored(
                reference, self._reference_store.read_original, self._limits, self._preprocess, geometry
            )
            if prepared is None:
                unreadable.append(reference)
                continue
            parts.append(encode_reference(self._worker, self._encoder, codec, prepared))
            ids.append(reference.id)
        return Reencoded(tuple(ids), join(parts) if parts else None, tuple(unreadable))

    def _calibrated(self, memory: MemoryBank, category: str, stopping: threading.Event) -> StoredCalibration:
        """The category's calibration of its references as they are encoded now, to serve from the switch on."""
        scoring = self._reference_store.published.settings.get(category, CategorySettings()).scoring

        def check(_: float) -> None:
            if stopping.is_set():
                raise Stopped

        steps = leave_one_out(memory, self._engine, category, scoring.k, scoring.rho)
        searches = run_steps(self._worker, steps, check)
        self._calibrations.foresee(memory, category, scoring, searches)
        return to_stored(memory.version, searches)
