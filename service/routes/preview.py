"""`POST /categories/{name}/preview`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from indexer.calibration.calibration import Calibration
from indexer.domain.category import CategorySettings
from indexer.domain.verdict import Verdict
from service.http.disconnect import cancel_on_disconnect
from service.http.problems import documented_problems
from service.routes.categories import Name
from service.routes.dependencies import app_state
from service.schemas.preview import (
    JudgedScoreView,
    PreviewedInspection,
    PreviewedReference,
    PreviewRequest,
    PreviewResponse,
    PreviewSide,
)
from service.state import AppState
from service.usecases.preview import JudgedScore, Preview, preview
from service.usecases.settings import settings_changes

router = APIRouter(prefix="/categories", tags=["categories"])


@router.post(
    "/{name}/preview", responses=documented_problems("not-found", "not-ready", "device-memory-full", "queue-full")
)
async def previewed(
    name: Name,
    body: PreviewRequest,
    request: Request,
    state: Annotated[AppState, Depends(app_state)],
    limit: Annotated[int, Query(ge=1, le=50, description="Inspections to try it on, and references to list.")] = 20,
) -> PreviewResponse:
    """What settings would make of the references and of the latest inspections. Nothing is changed.

    At once where only rates or the threshold differ. Otherwise images are encoded and searched again behind every
    detection, which takes about as long as inspecting them twice; one such preview waits for another, and ends when its
    client closes the connection.
    """
    found = await asyncio.to_thread(state.library.catalogue.categories.get, name)
    then = replace(found.settings, **settings_changes(state, name, body.model_dump(exclude_unset=True)))
    tried = await cancel_on_disconnect(request, preview(state, name, found.settings, then, limit))
    current = state.calibrations.is_current(state.library.memory, name, found.settings.scoring)
    return _view(tried, found.settings, then, limit, current=current)


def _view(
    tried: Preview, now: CategorySettings, then: CategorySettings, limit: int, *, current: bool
) -> PreviewResponse:
    references = [each for _, each in tried.references]
    inspections = [each for _, each in tried.inspections]
    return PreviewResponse(
        version=tried.version,
        basis=tried.basis,
        measured=tried.measured,
        current=current,
        searched_again=tried.searched_again,
        before=_side(tried.before, now, [each.before for each in references], [each.before for each in inspections]),
        after=_side(tried.after, then, [each.after for each in references], [each.after for each in inspections]),
        changed_references=sum(each.changed for each in references),
        changed_inspections=sum(each.changed for each in inspections),
        references=tuple(
            PreviewedReference(reference_id=one, before=_held(each.before), after=_held(each.after))
            for one, each in tried.references[:limit]
        ),
        inspections=tuple(
            PreviewedInspection(
                inspection_id=one.id,
                at=one.at,
                filename=one.filename,
                stale=one.id in tried.stale,
                before=_held(each.before),
                after=_held(each.after),
            )
            for one, each in tried.inspections
        ),
    )


def _side(
    calibration: Calibration | None,
    settings: CategorySettings,
    references: Sequence[JudgedScore],
    inspections: Sequence[JudgedScore],
) -> PreviewSide:
    threshold = settings.threshold
    if threshold is None and calibration is not None:
        threshold = calibration.scores.threshold_at(settings.false_reject_rate)
    return PreviewSide(
        threshold=threshold,
        rate_supported=calibration is not None and calibration.scores.supports_rate(settings.false_reject_rate),
        unfamiliar_threshold=None
        if calibration is None
        else calibration.novelty.threshold_at(settings.unfamiliar_rate),
        references=_counted(references),
        inspections=_counted(inspections),
    )


def _counted(held: Sequence[JudgedScore]) -> dict[Verdict, int]:
    return dict(Counter(each.decision.verdict for each in held))


def _held(held: JudgedScore) -> JudgedScoreView:
    return JudgedScoreView(score=held.score, p_value=held.decision.p_value, verdict=held.decision.verdict)
