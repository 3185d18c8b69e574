"""Reads stored images within the budget of a request."""

from __future__ import annotations

from service.inference.in_flight import Lease
from service.state import AppState


async def read_stored_image(state: AppState, sha256: str, suffix: str, lease: Lease) -> bytes:
    """The bytes of a kept image, counted among those that the request holds. OriginalUnreadable; QueueFullError."""
    data = await state.thread_pools.files(state.library.read_original, sha256, suffix)
    lease.add(len(data))
    return data
