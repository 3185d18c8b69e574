"""Has categories condensed, and searched in all their references again."""

from __future__ import annotations

import asyncio

from indexer.domain.coreset import CoresetRecord, CoresetTarget
from service.state import AppState


async def request_coreset(state: AppState, category: str, target: CoresetTarget) -> None:
    """Have a coreset made in the background; what is searched now serves meanwhile. CategoryNotFound."""
    await asyncio.to_thread(state.reference_store.catalogue.coresets.request, category, target)
    state.background.condensing.soon()


async def drop_coreset(state: AppState, category: str) -> None:
    """Search all references again. Idempotent. CategoryNotFound."""
    version = await asyncio.to_thread(state.reference_store.catalogue.coresets.drop, category)
    if version is not None:
        await asyncio.to_thread(state.reference_store.refresh)


async def coresets_by_category(state: AppState) -> dict[str, tuple[CoresetRecord, ...]]:
    """The finished coreset of each category, and the one that is asked for, as far as there are any."""
    coresets, memory_id = state.reference_store.catalogue.coresets, state.reference_store.memory_id
    by_category: dict[str, tuple[CoresetRecord, ...]] = {}
    for record in (
        *await asyncio.to_thread(coresets.finished, memory_id),
        *await asyncio.to_thread(coresets.requested),
    ):
        by_category[record.category] = (*by_category.get(record.category, ()), record)
    return by_category
