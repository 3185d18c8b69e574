"""A category's coreset as responses show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from indexer.detection.detector import Criteria
from indexer.domain.category import CategorySettings
from indexer.domain.coreset import CoresetRecord, CoresetResult
from service.schemas.coreset import CoresetTargetView, CoresetView
from service.state import AppState


def coreset_view(state: AppState, name: str, records: Sequence[CoresetRecord]) -> CoresetView | None:
    """What a category is searched in, and is to be. records: as `coresets_by_category` has them."""
    if not records:
        return None
    memory = state.reference_store.memory
    finished = next((record for record in records if record.result is not None), None)
    requested = next((record for record in records if record.result is None), None)
    result = None if finished is None else finished.result
    searched = memory.coresets.get(name)
    coreset_state: Literal["requested", "in use", "not in use"] = "not in use"
    if searched is not None:
        coreset_state = "in use"
    elif requested is not None:
        coreset_state = "requested"
    target = records[-1].target
    return CoresetView(
        target=CoresetTargetView(share=target.share, bound=target.bound),
        state=coreset_state,
        error=None if requested is None else requested.error,
        progress=None if requested is None else state.condensing.progress(name),
        references=None if result is None else result.references,
        patches=None if result is None else result.patches,
        bytes=None if result is None else result.file.size,
        radii=None if result is None else dict(zip(memory.space.layers, result.radii, strict=True)),
        bound=None if result is None else _bound(state, name, result),
        beside=0 if searched is None else memory.searchable_rows(name) - len(searched.rows),
    )


def _bound(state: AppState, name: str, result: CoresetResult) -> float:
    settings = state.category_settings.get(name, CategorySettings())
    return result.bound(Criteria.of(settings, state.calibrations.of(name)).scoring.layer_weights)
