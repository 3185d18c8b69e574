"""A category's leave-one-out results as the catalogue keeps them, for whoever goes on from there."""

from __future__ import annotations

import logging

from indexer.library import Library
from indexer.scoring import ScoringSettings
from indexer.verdicts.leave_one_out import LeaveOneOut
from indexer.verdicts.measures import Measures

log = logging.getLogger("touchstone")


def read_kept(library: Library, category: str) -> tuple[int, LeaveOneOut] | None:
    """The snapshot's version and the results; None when there are none, or none that can be read."""
    kept = library.catalogue.calibrations.read(category, library.memory_id)
    if kept is None:
        return None
    try:
        return kept.version, LeaveOneOut.from_bytes(kept.state)
    except (ValueError, KeyError, TypeError, OSError):  # of another layout: it is only a saving of time
        log.warning("the kept calibration of %s cannot be read; it is made again", category)
        return None


def kept_measures(library: Library, category: str, settings: ScoringSettings) -> list[Measures]:
    """What the references calibrated last measured; nothing under another K or ρ, or once one of them is gone."""
    kept = read_kept(library, category)
    if kept is None:
        return []
    found, memory = kept[1], library.memory
    live = set(memory.ids[memory.rows_of(category)].tolist())
    if (found.k, found.rho) != (settings.k, settings.rho) or not live.issuperset(found.ids.tolist()):
        return []
    return [measures for _, measures in found.measures(memory, settings)]
