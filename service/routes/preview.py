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
from service.http.problem_types import documented_problems
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
async def preview_settings(
    name: Name,
    body: PreviewRequest,
    request: Request,
    state: Annotated[AppState, Depends(app_state)],
    limit: Annotated[
        int, Query(ge=1, le=50, description="Number of inspections to preview, and of references to list.")
    ] = 20,
) -> PreviewResponse:
    """Preview the effect of settings on the references and on the latest inspections, without changing anything.

    The response is immediate if only rates or the threshold differ. Otherwise images are encoded and searched again at
    lower priority than detections, which takes about as long as inspecting them twice. Such previews run one at a time,
    and are cancelled when the client disconnects.
    """
    category = await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    then = replace(category.settings, **await settings_changes(state, name, body.model_dump(exclude_unset=True)))
    tried = await cancel_on_disconnect(request, preview(state, name, category.settings, then, limit))
    current = state.calibrations.is_current(state.reference_store.memory, name, category.settings.scoring)
    return _view(tried, category.settings, then, limit, current=current)


def _view(
    tried: Preview, now: CategorySettings, then: CategorySettings, limit: int, *, current: bool
) -> PreviewResponse:
    references = [comparison for _, comparison in tried.references]
    inspections = [comparison for _, comparison in tried.inspections]
    return PreviewResponse(
        version=tried.version,
        basis=tried.basis,
        measured=tried.measured,
        current=current,
        searched_again=tried.searched_again,
        before=_side(
            tried.before,
            now,
            [comparison.before for comparison in references],
            [comparison.before for comparison in inspections],
        ),
        after=_side(
            tried.after,
            then,
            [comparison.after for comparison in references],
            [comparison.after for comparison in inspections],
        ),
        changed_references=sum(comparison.changed for comparison in references),
        changed_inspections=sum(comparison.changed for comparison in inspections),
        references=tuple(
            PreviewedReference(
                reference_id=reference_id, before=_score_view(comparison.before), after=_score_view(comparison.after)
            )
            for reference_id, comparison in tried.references[:limit]
        ),
        inspections=tuple(
            PreviewedInspection(
                inspection_id=inspection.id,
                at=inspection.at,
                filename=inspection.filename,
                stale=inspection.id in tried.stale,
                before=_score_view(comparison.before),
                after=_score_view(comparison.after),
            )
            for inspection, comparison in tried.inspections
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


def _counted(scores: Sequence[JudgedScore]) -> dict[Verdict, int]:
    return dict(Counter(score.decision.verdict for score in scores))


def _score_view(score: JudgedScore) -> JudgedScoreView:
    return JudgedScoreView(score=score.score, p_value=score.decision.p_value, verdict=score.decision.verdict)
