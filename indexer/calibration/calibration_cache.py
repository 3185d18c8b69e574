"""A category's leave-one-out results as the catalogue keeps them, for whoever goes on from there."""

from __future__ import annotations

import logging

import numpy as np

from indexer.calibration.leave_one_out import NOBODY, LeaveOneOut, padded
from indexer.domain.leave_one_out import StoredCalibration, StoredReferenceResult
from indexer.domain.scoring_settings import ScoringSettings
from indexer.references.reference_store import ReferenceStore
from indexer.scoring.image_statistics import Measures

log = logging.getLogger("touchstone")


def read_kept(library: ReferenceStore, category: str) -> tuple[int, LeaveOneOut] | None:
    """The snapshot's version and the results; None when there are none, or none that can be read."""
    published = library.published
    kept = library.catalogue.calibrations.read(category, published.memory_id)
    if kept is None or not kept.references:
        return None
    space = published.memory.space
    try:
        return kept.version, from_kept(kept, (len(space.layers), space.cells))
    except ValueError:  # it is only a saving of time
        log.warning("the kept calibration of %s cannot be read; it is made again", category)
        return None


def kept_measures(library: ReferenceStore, category: str, settings: ScoringSettings) -> list[Measures]:
    """What the references calibrated last measured; nothing under another K or ρ, or once one of them is gone."""
    kept = read_kept(library, category)
    if kept is None:
        return []
    found, memory = kept[1], library.memory
    live = set(memory.ids[memory.rows_of(category)].tolist())
    if (found.k, found.rho) != (settings.k, settings.rho) or not live.issuperset(found.ids.tolist()):
        return []
    return [measures for _, measures in found.measures(memory, settings)]


def to_kept(version: int, found: LeaveOneOut) -> StoredCalibration:
    """Results of a snapshot as the catalogue keeps them; equal results of a reference are equal byte for byte."""
    return StoredCalibration(
        version, found.k, found.rho,
        tuple(
            StoredReferenceResult(
                int(reference_id), int(found.groups[row]),
                None if np.isnan(found.nearest[row]) else float(found.nearest[row]),
                found.candidates[row][found.candidates[row] != NOBODY].astype("<i8").tobytes(),
                found.best[row].astype("<f4").tobytes(),
                found.peers[row][found.peers[row] != NOBODY].astype("<i8").tobytes(),
                found.apart[row][found.peers[row] != NOBODY].astype("<f4").tobytes(),
            )
            for row, reference_id in enumerate(found.ids)
        ),
    )  # fmt: skip


def from_kept(kept: StoredCalibration, shape: tuple[int, int]) -> LeaveOneOut:
    """The inverse of `to_kept`. shape: layers and cells. ValueError when what is kept does not fit."""
    rows = kept.references
    nearest = [np.nan if each.nearest is None else each.nearest for each in rows]
    return LeaveOneOut(
        kept.k, kept.rho,
        np.array([each.reference_id for each in rows], np.int64),
        np.array([each.group_id for each in rows], np.int64),
        padded([np.frombuffer(each.candidates, "<i8").tolist() for each in rows]).astype(np.int64),
        np.array(nearest, np.float32),
        np.stack([np.frombuffer(each.best, "<f4").reshape(shape) for each in rows]).astype(np.float32),
        padded([np.frombuffer(each.peers, "<i8").tolist() for each in rows]).astype(np.int64),
        padded([np.frombuffer(each.apart, "<f4").tolist() for each in rows]).astype(np.float32),
    )  # fmt: skip
