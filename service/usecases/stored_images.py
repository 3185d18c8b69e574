"""Reads stored images within the budget of a request, and tells where they were inspected."""

from __future__ import annotations

from indexer.domain.geometry import Frame, InputGeometry
from indexer.domain.inspection import Inspection
from service.inference.in_flight import Lease
from service.state import AppState


async def read_stored_image(state: AppState, sha256: str, suffix: str, lease: Lease) -> bytes:
    """The bytes of a kept image, counted among those that the request holds. OriginalUnreadable; QueueFullError."""
    data = await state.thread_pools.files(state.reference_store.read_original, sha256, suffix)
    lease.add(len(data))
    return data


def inspected_frame(state: AppState, inspection: Inspection) -> Frame:
    """Where the image of an inspection was inspected, for laying its map over it: of one cell, since they may have been
    those of another encoder.
    """
    space = state.reference_store.memory.space
    geometry = space.global_geometry if inspection.geometry is None else InputGeometry.from_json(inspection.geometry)
    return Frame(geometry.placement((inspection.width, inspection.height)), (1, 1))
