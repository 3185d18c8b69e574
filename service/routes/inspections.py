"""`/inspections`: history, maps, images, live stream, feedback."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from indexer.domain.inspection import Inspection, InspectionFilter
from indexer.domain.stored_file import thumbnail_name
from indexer.domain.verdict import Verdict
from indexer.imaging.thumbnail import THUMBNAIL_SIDE
from service.http.event_stream import server_sent_events
from service.http.image_response import IMMUTABLE_HEADERS, Side, image_response
from service.http.inspection_csv import csv_parts
from service.http.problem_types import ProblemError, documented_problems
from service.http.streamed_parts import stream_parts
from service.inference.in_flight import Lease
from service.recording.map_images import heat_png
from service.routes.dependencies import PAGE_LIMIT, PageCursor, PageLimit, StoredBytesLease, app_state
from service.schemas.base import WRITTEN_OUT
from service.schemas.inspections import (
    FeedbackRequest,
    InspectionPage,
    InspectionView,
    Label,
    ParetoBarView,
    ParetoView,
    TrendPointView,
    TrendView,
    inspection_view,
)
from service.schemas.text import CategoryName, DefectClass, HeaderText, Text
from service.state import AppState
from service.usecases.feedback import confirm_defect, mark_as_good
from service.usecases.stored_images import inspected_frame, read_stored_image


def _in_utc(time: datetime) -> datetime:
    """UTC is meant where no zone is named."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC, its year would not be one of 1 to 9999") from None


_Moment = Annotated[datetime, WRITTEN_OUT, AfterValidator(_in_utc)]

router = APIRouter(prefix="/inspections", tags=["inspections"])

# A proxy that collected the events before it passed them on would show each part too late (nginx does, unless told).
_STREAMED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def _filter(
    category: Annotated[CategoryName | None, Query()] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
    station: Annotated[Text | None, Query()] = None,
    part_id: Annotated[Text | None, Query()] = None,
    label: Annotated[Label | None, Query()] = None,
    since: Annotated[_Moment | None, Query(description="At or after this time; UTC unless it has a time zone.")] = None,
    until: Annotated[_Moment | None, Query(description="Before this time.")] = None,
    text: Annotated[Text | None, Query(description="Substring of the file name, part id or station.")] = None,
    defect_class: Annotated[DefectClass | None, Query(description="Of confirmed defects.")] = None,
) -> InspectionFilter:
    return InspectionFilter(category, verdict, station, part_id, label, since, until, text, defect_class)


Matching = Annotated[InspectionFilter, Depends(_filter)]


@router.get("", responses={**documented_problems(), 200: {"model": InspectionPage, "content": {"text/csv": {}}}})
async def inspections(
    state: Annotated[AppState, Depends(app_state)],
    matching: Matching,
    cursor: PageCursor = None,
    limit: PageLimit = PAGE_LIMIT,
    format: Annotated[Literal["json", "csv"], Query(description="csv: all matches, streamed.")] = "json",
) -> Response:
    """The history, newest first."""
    catalogue = state.reference_store.catalogue
    if format == "csv":
        parts = csv_parts(catalogue.inspections.iterate(matching))
        first = await asyncio.to_thread(next, parts)  # if the database does not answer, that is the answer
        lines = stream_parts(first, parts)
        headers = {"Content-Disposition": 'attachment; filename="inspections.csv"'}
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
    page = await asyncio.to_thread(catalogue.inspections.page, matching, cursor, limit)
    shown = InspectionPage(inspections=tuple(map(inspection_view, page.items)), next_cursor=page.next_cursor)
    return Response(shown.model_dump_json(), media_type="application/json")


@router.get("/trend", responses=documented_problems())
async def trend(
    state: Annotated[AppState, Depends(app_state)],
    matching: Matching,
    points: Annotated[int, Query(ge=1, le=500, description="Maximum number of time buckets.")] = 60,
) -> TrendView:
    """Counts, verdicts and scores of the matching inspections over time."""
    buckets = await asyncio.to_thread(state.reference_store.catalogue.inspections.trend, matching, points)
    return TrendView(
        total=buckets.total,
        categories=buckets.categories,
        first=buckets.first,
        last=buckets.last,
        bucket_seconds=buckets.bucket.total_seconds(),
        points=tuple(TrendPointView(**asdict(point)) for point in buckets.points),
    )


@router.get("/pareto", responses=documented_problems())
async def pareto(state: Annotated[AppState, Depends(app_state)], matching: Matching) -> ParetoView:
    """The confirmed defects among the matching inspections, counted by class."""
    counted = await asyncio.to_thread(state.reference_store.catalogue.inspections.pareto, matching)
    return ParetoView(total=counted.total, bars=tuple(ParetoBarView(**asdict(bar)) for bar in counted.bars))


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={**documented_problems("not-found"), 200: {"content": {"text/event-stream": {}}}},
)
async def stream(
    state: Annotated[AppState, Depends(app_state)],
    matching: Matching,
    last_event_id: Annotated[
        HeaderText | None, Header(description="Continue after this inspection; by default from now on.")
    ] = None,
) -> StreamingResponse:
    """Inspections as they are recorded, by any replica, as server-sent events of the type `inspection`.

    An event's data is the response of `GET /inspections/{inspection_id}`, its id that of the inspection. After a
    reconnection an inspection may be sent twice, with the same id.
    """
    missed_since = None if last_event_id is None else (await _find(state, last_event_id)).at
    events = server_sent_events(state.inspection_stream, matching, missed_since)
    return StreamingResponse(events, media_type="text/event-stream", headers=_STREAMED)


@router.get("/{inspection_id}", responses=documented_problems("not-found"))
async def inspection(inspection_id: Text, state: Annotated[AppState, Depends(app_state)]) -> InspectionView:
    """One inspection."""
    return inspection_view(await _find(state, inspection_id))


@router.get("/{inspection_id}/map.png", response_class=Response, responses=documented_problems("not-found"))
async def anomaly_map(inspection_id: Text, state: Annotated[AppState, Depends(app_state)]) -> Response:
    """The anomaly map over the inspected window: 16-bit grey PNG, value / 65535 × 2."""
    inspection = await _find(state, inspection_id)
    return Response(await _file(state, inspection.map_name), media_type="image/png")


@router.get("/{inspection_id}/heat.png", response_class=Response, responses=documented_problems("not-found"))
async def heat(inspection_id: Text, state: Annotated[AppState, Depends(app_state)]) -> Response:
    """The anomaly map in colours, transparent where it is normal, as an overlay for the whole image.

    Colours start at half of the threshold and saturate at one and a half times the threshold. At most 1024 pixels a
    side.
    """
    inspection = await _find(state, inspection_id)
    frame = inspected_frame(state, inspection)
    data = await state.thread_pools.files(heat_png, state.history_folder, inspection, frame)
    if data is None:
        raise ProblemError("not-found", "The map of this inspection is no longer stored.")
    return Response(data, media_type="image/png", headers=IMMUTABLE_HEADERS)


@router.get("/{inspection_id}/image", response_class=Response, responses=documented_problems("not-found", "queue-full"))
async def image(
    inspection_id: Text, state: Annotated[AppState, Depends(app_state)], lease: StoredBytesLease, side: Side = None
) -> Response:
    """The image as uploaded, or scaled down. Once it is pruned, its thumbnail is returned if `side` is given."""
    inspection = await _find(state, inspection_id)
    pruned = inspection.stored_bytes is None
    if inspection.thumbnail_bytes is not None and side is not None and (pruned or side <= THUMBNAIL_SIDE):
        data = await _file(state, thumbnail_name(inspection_id))
        return await image_response(state.thread_pools.files, data, ".jpg", side, state.settings.image_limits)
    if pruned and inspection.thumbnail_bytes is not None:
        raise ProblemError(
            "not-found", "The original image is no longer stored; with `side` its thumbnail is returned."
        )
    data, suffix = await _image(state, inspection, lease)
    return await image_response(state.thread_pools.files, data, suffix, side, state.settings.image_limits)


@router.post(
    "/{inspection_id}/feedback",
    responses=documented_problems("not-found", "storage-full", "conflict", "confirmation-needed", "queue-full"),
)
async def feedback(
    inspection_id: Text,
    body: FeedbackRequest,
    state: Annotated[AppState, Depends(app_state)],
    request: Request,
    lease: StoredBytesLease,
) -> InspectionView:
    """Label an inspected part as good or defective, or remove its label.

    A defect may be given one of its category's `defect_classes` and a comment, at once or later.

    `good` adds the image as a reference of its category, so that the same false reject does not recur. Any later label
    removes that reference, unless it existed before. `good` needs the image: once it is pruned, the response is a
    conflict. An image that would change the threshold considerably, or does not resemble the product, needs
    confirmation: the response is `confirmation-needed` with its `effect`; repeat the request with `confirm`.

    An operator's `good` is stored, and waits for review before the image becomes a reference: always with the
    category's `review_feedback`, else where confirmation is needed.
    """
    if body.label == "none":
        return inspection_view(await asyncio.to_thread(state.reference_store.set_label, inspection_id, None))
    if body.label == "defect":
        return inspection_view(await confirm_defect(state, inspection_id, body.details))
    inspection = await _find(state, inspection_id)
    _, role = request.scope["access"]
    with state.onboarding.images.lease(1):
        return inspection_view(await mark_as_good(state, inspection, lease, confirm=body.confirm, role=role))


async def _find(state: AppState, inspection_id: str) -> Inspection:
    return await asyncio.to_thread(state.reference_store.catalogue.inspections.get, inspection_id)


async def _file(state: AppState, name: str | None) -> bytes:
    """A map or a thumbnail, which may be deleted at any moment. ProblemError when it is."""
    try:
        return await state.thread_pools.files((state.history_folder / (name or "")).read_bytes)
    except (FileNotFoundError, IsADirectoryError):
        raise ProblemError("not-found", "This file is no longer stored.") from None


async def _image(state: AppState, inspection: Inspection, lease: Lease) -> tuple[bytes, str]:
    if inspection.stored_bytes is None or inspection.image_sha256 is None or inspection.image_suffix is None:
        raise ProblemError("not-found", "The image of this inspection is no longer stored.")
    data = await read_stored_image(state, inspection.image_sha256, inspection.image_suffix, lease)
    return data, inspection.image_suffix
