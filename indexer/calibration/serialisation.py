"""Converts a category's leave-one-out results to and from their form in the catalogue."""

from __future__ import annotations

import numpy as np

from indexer.calibration.leave_one_out import PADDING, LeaveOneOut, pad
from indexer.domain.leave_one_out import StoredCalibration, StoredReferenceResult


def to_stored(version: int, result: LeaveOneOut) -> StoredCalibration:
    """Results of a snapshot in the catalogue's form; equal results of a reference are byte-identical."""
    return StoredCalibration(
        version,
        result.k,
        result.rho,
        tuple(
            StoredReferenceResult(
                int(reference_id),
                int(result.groups[row]),
                None if np.isnan(result.nearest[row]) else float(result.nearest[row]),
                result.candidates[row][result.candidates[row] != PADDING].astype("<i8").tobytes(),
                result.best[row].astype("<f4").tobytes(),
                result.peers[row][result.peers[row] != PADDING].astype("<i8").tobytes(),
                result.distances[row][result.peers[row] != PADDING].astype("<f4").tobytes(),
            )
            for row, reference_id in enumerate(result.ids)
        ),
        result.coreset,
    )


def from_stored(stored: StoredCalibration, shape: tuple[int, int]) -> LeaveOneOut:
    """The inverse of `to_stored`. shape: layers and cells. ValueError if the stored values do not fit."""
    rows = stored.references
    nearest = [np.nan if row.nearest is None else row.nearest for row in rows]
    return LeaveOneOut(
        stored.k,
        stored.rho,
        np.array([row.reference_id for row in rows], np.int64),
        np.array([row.group_id for row in rows], np.int64),
        pad([np.frombuffer(row.candidates, "<i8").tolist() for row in rows]).astype(np.int64),
        np.array(nearest, np.float32),
        np.stack([np.frombuffer(row.best, "<f4").reshape(shape) for row in rows]).astype(np.float32),
        pad([np.frombuffer(row.peers, "<i8").tolist() for row in rows]).astype(np.int64),
        pad([np.frombuffer(row.apart, "<f4").tolist() for row in rows]).astype(np.float32),
        stored.coreset,
    )
