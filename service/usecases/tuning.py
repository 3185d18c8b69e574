"""Asks for the tuning of a category's settings on its test set, and says how it goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from indexer.domain.tuning import Tuning
from indexer.tuning.cross_validation import too_few
from service.background.tuning import tuning_key
from service.errors import Conflict
from service.state import AppState


@dataclass(frozen=True)
class TuningStatus:
    """A tuning. outdated: whether references, settings or test images have changed since it began."""

    tuning: Tuning
    outdated: bool


async def request_tuning(state: AppState, category: str) -> None:
    """Have it made, unless it is under way. CategoryNotFound; Conflict when the test set is too small."""
    images = await asyncio.to_thread(state.reference_store.catalogue.labelled_sets.images, category)
    defective = sum(image.defective for image in images)
    if (reason := too_few(len(images) - defective, defective)) is not None:
        raise Conflict(reason)
    await asyncio.to_thread(state.reference_store.catalogue.tunings.request, category, len(images))
    state.background.tuning.soon()


async def tuning_status(state: AppState, category: str) -> TuningStatus | None:
    """A category's latest tuning; None if there is none. CategoryNotFound."""

    def read() -> TuningStatus | None:
        tuning = state.reference_store.catalogue.tunings.of(category)
        if tuning is None:
            return None
        images = state.reference_store.catalogue.labelled_sets.images(category)
        key = tuning_key(state.calibrations, state.reference_store.published, category, images)
        return TuningStatus(tuning, outdated=tuning.finished_at is not None and tuning.key != key)

    return await asyncio.to_thread(read)
