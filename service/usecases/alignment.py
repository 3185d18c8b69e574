"""Says whether the parts of a category lie alike in all images."""

from __future__ import annotations

import asyncio

from indexer.calibration.alignment import Alignment, measure_alignment
from indexer.domain.category import CategorySettings
from service.background.worker_steps import await_steps
from service.state import AppState


async def alignment_of(state: AppState, name: str) -> tuple[Alignment | None, CategorySettings]:
    """How alike its references lie, None where that cannot be said, and its settings. CategoryNotFound."""
    category = await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    steps = measure_alignment(state.reference_store.memory, name, category.settings.scoring)
    return await await_steps(state.worker, steps), category.settings
