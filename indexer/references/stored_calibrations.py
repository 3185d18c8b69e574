"""Reads the leave-one-out results that the catalogue keeps of a category."""

from __future__ import annotations

import logging

from indexer.calibration.leave_one_out import LeaveOneOut
from indexer.calibration.serialisation import from_stored
from indexer.domain.scoring_settings import ScoringSettings
from indexer.references.reference_store import ReferenceStore
from indexer.scoring.image_statistics import ImageStatistics

log = logging.getLogger("touchstone")


def read_stored(reference_store: ReferenceStore, category: str) -> tuple[int, LeaveOneOut] | None:
    """The snapshot's version and the results; None when there are none, or none that can be read."""
    published = reference_store.published
    stored = reference_store.catalogue.calibrations.read(category, published.memory_id)
    if stored is None or not stored.references:
        return None
    memory = published.memory
    rows, columns = memory.frame(category).grid
    try:
        return stored.version, from_stored(stored, (len(memory.space.layers), rows * columns))
    except ValueError:  # it is only a saving of time
        log.warning("the stored calibration of %s cannot be read; it is computed again", category)
        return None


def stored_statistics(
    reference_store: ReferenceStore, category: str, settings: ScoringSettings
) -> list[ImageStatistics]:
    """What the references calibrated last measured; nothing under another K or ρ, or once one of them is gone."""
    stored = read_stored(reference_store, category)
    if stored is None:
        return []
    result, memory = stored[1], reference_store.memory
    live = set(memory.ids[memory.rows_of(category)].tolist())
    if (result.k, result.rho) != (settings.k, settings.rho) or not live.issuperset(result.ids.tolist()):
        return []
    return [statistics for _, statistics in result.statistics(memory, memory.frame(category), settings)]
