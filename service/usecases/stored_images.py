"""Reads stored images within the budget of a request."""

from __future__ import annotations

from service.inference.in_flight import Lease
from service.state import Runtime


async def read_kept(running: Runtime, sha256: str, suffix: str, held: Lease) -> bytes:
    """The bytes of a kept picture, counted among those that the request holds. OriginalUnreadable; Busy."""
    data = await running.threads.files(running.library.read_original, sha256, suffix)
    held.add(len(data))
    return data
