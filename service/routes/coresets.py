"""`/categories/{name}/coreset`: a few patches of each place, searched instead of those of all references."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends

from indexer.domain.coreset import CoresetTarget
from service.http.problem_types import ProblemError, documented_problems
from service.routes.categories import Name, category
from service.routes.coreset_view import coreset_view
from service.routes.dependencies import app_state
from service.schemas.categories import CategoryView
from service.schemas.coreset import CoresetRequest, CoresetView
from service.state import AppState
from service.usecases.coresets import drop_coreset, request_coreset

router = APIRouter(prefix="/categories", tags=["categories"])


@router.get("/{name}/coreset", responses=documented_problems("not-found"))
async def coreset(name: Name, state: Annotated[AppState, Depends(app_state)]) -> CoresetView:
    """The coreset of a category: whether it is searched, how large it is, and what scores can differ by.

    404 where all references are searched and none is asked for.
    """
    await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    records = await asyncio.to_thread(state.reference_store.catalogue.coresets.of, name)
    view = coreset_view(state, name, records)
    if view is None:
        raise ProblemError("not-found", f"All references of {name!r} are searched: it has no coreset.")
    return view


@router.put("/{name}/coreset", responses=documented_problems("not-found"))
async def condense(name: Name, body: CoresetRequest, state: Annotated[AppState, Depends(app_state)]) -> CoresetView:
    """Search a few patches of each layer and cell instead of those of all references.

    They are chosen in the background so that no reference's patch is far from one of them, which takes less memory and
    time in every search. No score is lower than among all references, and none is higher by more than `bound`. The
    category is calibrated anew before they are used. References stay stored. Those added later are searched beside
    them; when one is removed that they stand for, all references are searched until another coreset is made. What is
    searched now serves meanwhile, and a coreset that is being made is given up.
    """
    await request_coreset(state, name, CoresetTarget(body.share, body.bound))
    return await coreset(name, state)


@router.delete("/{name}/coreset", responses=documented_problems("not-found"))
async def search_all(name: Name, state: Annotated[AppState, Depends(app_state)]) -> CategoryView:
    """Search all references of a category again, and make no coreset of it. Idempotent."""
    await drop_coreset(state, name)
    return await category(name, state)
