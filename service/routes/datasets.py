"""`/inspections/dataset.zip` and `/categories/{name}/test-set.zip`: labelled images to take away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from service.http.problem_types import documented_problems
from service.http.streamed_parts import stream_parts
from service.routes.categories import Name
from service.routes.dependencies import app_state
from service.routes.inspections import Matching
from service.state import AppState
from service.usecases.labelled_export import inspections_dataset, test_set_dataset

router = APIRouter(tags=["data sets"])

_ZIP: dict[int | str, dict[str, Any]] = {200: {"content": {"application/zip": {}}}}


@router.get(
    "/inspections/dataset.zip",
    response_class=StreamingResponse,
    responses={**documented_problems("conflict"), **_ZIP},
)
async def inspections(state: Annotated[AppState, Depends(app_state)], matching: Matching) -> StreamingResponse:
    """The labelled inspections that match, and the references of their categories, in MVTec-AD's layout.

    `train/good` has the references, `test` a folder for good parts and one for each defect class, `ground_truth` masks
    drawn from the regions. `manifest.jsonl` names every image with its origin, and those that could not be included,
    such as pruned ones. `touchstone evaluate` reads the unpacked archive.
    """
    return await _archive(inspections_dataset(state.reference_store, matching))


@router.get(
    "/categories/{name}/test-set.zip",
    response_class=StreamingResponse,
    responses={**documented_problems("not-found", "conflict"), **_ZIP},
)
async def test_set(name: Name, state: Annotated[AppState, Depends(app_state)]) -> StreamingResponse:
    """A category's test set and references in the same layout; masks are those that were uploaded."""
    return await _archive(test_set_dataset(state.reference_store, name))


async def _archive(parts: Iterator[bytes]) -> StreamingResponse:
    first = await asyncio.to_thread(next, parts)  # what is wrong with the request is answered before the body begins
    headers = {"Content-Disposition": 'attachment; filename="dataset.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(stream_parts(first, parts), media_type="application/zip", headers=headers)
