"""`/geometry`: what inspecting images in some way would cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from indexer.domain.geometry_choice import GeometryChoice
from service.http.problem_types import ProblemError, documented_problems
from service.routes.dependencies import app_state
from service.schemas.geometry import AdviceRequest, AdviceView, GeometryBody, geometry_view
from service.state import AppState
from service.usecases.geometry import advise

router = APIRouter(prefix="/geometry", tags=["geometry"])


@router.post("/advice", responses=documented_problems("not-found", "not-ready", "device-memory-full"))
async def advice(body: AdviceRequest, state: Annotated[AppState, Depends(app_state)]) -> AdviceView:
    """The geometry for the smallest defect that matters, and its cost, without encoding any image.

    Rejected if it needs more cells than possible or more memory than available; the error says what would fit.
    """
    if (body.width is None) != (body.height is None):
        raise ProblemError("invalid-request", "width and height belong together.")
    image_size = None if body.width is None or body.height is None else (body.width, body.height)
    advice = await advise(state, geometry_choice(body), body.category, image_size, body.references)
    cost = advice.cost
    return AdviceView(
        geometry=geometry_view(advice.geometry, state.encoder.space.patch),
        cells=cost.cells,
        smallest_defect=cost.smallest_defect,
        encode_ms=cost.encode_ms,
        search_ms=cost.search_ms,
        reference_bytes=cost.reference_bytes,
        references=cost.references,
        memory_bytes=cost.memory_bytes,
    )


def geometry_choice(body: GeometryBody) -> GeometryChoice:
    """What a body says. GeometryError when it contradicts itself."""
    return GeometryChoice(**body.model_dump(include=set(GeometryBody.model_fields)))
