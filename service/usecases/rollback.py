"""Rolls a category back to what an evaluation of its test set was made with: its settings and references."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.category import CategorySettings, SettingsChanges
from indexer.domain.labelled_set import Evaluation
from indexer.domain.reference import Reference
from service.errors import InvalidSetting
from service.state import AppState
from service.usecases import onboard
from service.usecases.settings import check_fits

# How files of 16 bits a channel are read goes with the references that were read so: it follows them by itself. No
# detection depends on the classes that defects are given, nor on what waits for review.
_STAYS = ("bit_depth", "defect_classes", "review_band", "review_feedback")


@dataclass(frozen=True)
class ChangesSince:
    """What has changed in a category since an evaluation.

    then, now: values of the settings that differ, by name. added: ids of references whose images were none then.
    removed: references of then whose images are none now. encoder, geometry: whether they were changed, which cannot be
    rolled back here.
    """

    then: Mapping[str, Any]
    now: Mapping[str, Any]
    added: tuple[int, ...]
    removed: tuple[Reference, ...]
    encoder: bool
    geometry: bool


@dataclass(frozen=True)
class RolledBack:
    """What one step of a rollback did. settings: names; removed: references; restored: by reference, the outcome, which
    may be the reason why not. next_cursor: where the next step goes on; None after the last.
    """

    settings: tuple[str, ...]
    removed: int
    restored: tuple[tuple[Reference, object], ...]
    next_cursor: int | None


def changes_since(catalogue: Catalogue, category: str, evaluation_id: int) -> ChangesSince:
    """What has changed since an evaluation began. CategoryNotFound, EvaluationNotFound."""
    evaluation: Evaluation = catalogue.labelled_sets.evaluation(category, evaluation_id)
    present = catalogue.categories.get(category).settings
    earlier = CategorySettings.from_json(evaluation.settings)
    names = [field.name for field in fields(CategorySettings) if field.name not in _STAYS]
    different = [name for name in names if getattr(earlier, name) != getattr(present, name)]
    references = catalogue.references.changed_since(category, evaluation.version)
    return ChangesSince(
        {name: getattr(earlier, name) for name in different},
        {name: getattr(present, name) for name in different},
        references.added,
        references.removed,
        encoder=catalogue.memories.switched_since(evaluation.version),
        geometry=catalogue.geometries.changed_since(category, evaluation.version),
    )


async def roll_back(state: AppState, category: str, evaluation_id: int, after: int, limit: int) -> RolledBack:
    """Restore up to `limit` references beyond id `after`; in the last step remove those that were added since, and set
    the settings of then.

    So the category is never without references, and a rollback that is cut off is taken up again by the same request.
    CategoryNotFound, EvaluationNotFound; InvalidSetting when the encoder has other layers now, or
    the grid does not suit ρ or the region of interest.
    """
    catalogue = state.reference_store.catalogue
    changes = await asyncio.to_thread(changes_since, catalogue, category, evaluation_id)
    weights = changes.then.get("layer_weights")
    if weights is not None and len(weights) != len(state.encoder.space.layers):
        raise InvalidSetting("The encoder has other layers than then, which the layer weights are of: no rollback.")
    settings = cast(SettingsChanges, changes.then)
    await check_fits(state, category, settings)
    waiting = [reference for reference in changes.removed if reference.id > after]
    step = waiting[:limit]
    outcomes = await onboard.restore(state, category, step) if step else []
    restored = tuple(zip(step, outcomes, strict=True))
    if len(waiting) > limit:
        return RolledBack((), 0, restored, step[-1].id)
    if changes.added:
        await asyncio.to_thread(state.reference_store.remove, changes.added)
    if changes.then:
        await asyncio.to_thread(state.reference_store.change_settings, category, settings)
    return RolledBack(tuple(changes.then), len(changes.added), restored, None)
