"""`/review`: inspections that wait for an engineer, and decisions on them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from indexer.domain.inspection import Inspection
from indexer.domain.review import ReviewReason
from service.http.problem_types import documented_problems
from service.http.problems import to_problem
from service.routes.dependencies import PAGE_LIMIT, PageCursor, PageLimit, app_state
from service.schemas.inspections import inspection_view
from service.schemas.review import ReviewedView, ReviewPage, ReviewRequest, ReviewResults
from service.schemas.text import CategoryName
from service.state import AppState
from service.usecases.review import decide

router = APIRouter(prefix="/review", tags=["review"])


@router.get("", responses=documented_problems())
async def waiting(
    state: Annotated[AppState, Depends(app_state)],
    category: Annotated[CategoryName | None, Query()] = None,
    reason: Annotated[ReviewReason | None, Query(description="Why they wait.")] = None,
    cursor: PageCursor = None,
    limit: PageLimit = PAGE_LIMIT,
) -> ReviewPage:
    """The inspections that wait for a decision, newest first.

    Parts wait whose score lies within the category's `review_band` around the threshold, that are `unfamiliar`, or that
    an operator labelled good (`feedback`). A label other than an operator's `good` decides them too.
    """
    queue = state.reference_store.catalogue.review
    page = await asyncio.to_thread(queue.page, category, reason, cursor, limit)
    count = await asyncio.to_thread(queue.count, category, reason)
    return ReviewPage(waiting=count, inspections=tuple(map(inspection_view, page.items)), next_cursor=page.next_cursor)


@router.post("", responses=documented_problems("storage-full", "queue-full", "not-ready"))
async def review(
    body: ReviewRequest, state: Annotated[AppState, Depends(app_state)], request: Request
) -> ReviewResults:
    """Decide inspections, each for itself: one that fails has its error in its place, and the others are decided.

    Safe to repeat: what is decided already stays as it is. `good` may need confirmation, as feedback does.
    """
    _, role = request.scope["access"]
    results = []
    for inspection_id in dict.fromkeys(body.inspections):
        outcome = await decide(state, inspection_id, body.decision, confirm=body.confirm, role=role)
        if isinstance(outcome, Inspection):
            results.append(ReviewedView(inspection_id=inspection_id, inspection=inspection_view(outcome)))
        else:
            problem = to_problem(outcome)
            state.metrics.problem(problem.kind)
            error = problem.body(request.scope["request_id"])
            results.append(ReviewedView(inspection_id=inspection_id, error=error))
    return ReviewResults(results=tuple(results))
