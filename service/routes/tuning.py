"""`/categories/{name}/tuning`: settings that separate a test set's good and defective parts better, if there are."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends

from indexer.domain.tuning import TuningResult
from indexer.tuning.cross_validation import MIN_DEFECTIVE, MIN_GOOD
from service.http.problem_types import documented_problems
from service.routes.categories import Name
from service.routes.dependencies import app_state
from service.schemas.tuning import TuningResultView, TuningStatusView, TuningView
from service.state import AppState
from service.usecases.tuning import TuningStatus, request_tuning, tuning_status

router = APIRouter(prefix="/categories", tags=["test sets"])


@router.get("/{name}/tuning", responses=documented_problems("not-found"))
async def tuning(name: Name, state: Annotated[AppState, Depends(app_state)]) -> TuningStatusView:
    """The latest tuning of a category, with its progress or result."""
    return _view(await tuning_status(state, name))


@router.post("/{name}/tuning", responses=documented_problems("not-found", "conflict"))
async def start_tuning(name: Name, state: Annotated[AppState, Depends(app_state)]) -> TuningStatusView:
    """Find out in the background whether another pooled share, layer weights, K, ρ or geometry would separate the
    category's test set better; nothing is changed.

    Each image is encoded once for each geometry and scored by every combination. Other geometries, for which all
    references are encoded again, are tried where that is affordable. Repeated stratified cross-validation says what
    choosing among them is worth on images that the choice was not made on, with its uncertainty. An earlier result is
    replaced; a tuning that is under way goes on.
    """
    await request_tuning(state, name)
    return _view(await tuning_status(state, name))


@router.delete("/{name}/tuning", responses=documented_problems("not-found"))
async def cancel_tuning(name: Name, state: Annotated[AppState, Depends(app_state)]) -> TuningStatusView:
    """Cancel a tuning, or forget its result. Idempotent."""
    await asyncio.to_thread(state.reference_store.catalogue.tunings.cancel, name)
    return _view(None)


def _view(status: TuningStatus | None) -> TuningStatusView:
    if status is None:
        return TuningStatusView(tuning=None, min_good=MIN_GOOD, min_defective=MIN_DEFECTIVE)
    latest = status.tuning
    view = TuningView(
        requested_at=latest.requested_at,
        finished_at=latest.finished_at,
        images=latest.images,
        done=latest.done,
        settings=dict(latest.settings),
        outdated=status.outdated,
        error=latest.error,
        result=None if latest.result is None else _result_view(latest.result),
    )
    return TuningStatusView(tuning=view, min_good=MIN_GOOD, min_defective=MIN_DEFECTIVE)


def _result_view(result: TuningResult) -> TuningResultView:
    return TuningResultView(**asdict(result), better=result.better)
