"""Leave-one-out results as the catalogue stores them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredReferenceResult:
    """One reference's leave-one-out results as they are kept: a reference of `LeaveOneOut`, without padding.

    nearest: None without any other. candidates, peers: int64; best, apart: float32; all little endian.
    """

    reference_id: int
    group_id: int
    nearest: float | None
    candidates: bytes
    best: bytes
    peers: bytes
    apart: bytes


@dataclass(frozen=True)
class StoredCalibration:
    """A category's leave-one-out results as they are kept. version: the snapshot they are of, under this K and ρ.

    references: ascending by id. coreset: the id of the one that was searched.
    """

    version: int
    k: int
    rho: int
    references: tuple[StoredReferenceResult, ...]
    coreset: int | None = None
