"""`/inspections`: what was inspected, what it looked like, and what a person says of it."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator

from indexer.catalogue import Inspection, InspectionFilter
from indexer.images import ImageRefused
from service import history
from service.onboarding import promote
from service.problems import ProblemError, documented, from_refusal
from service.runtime import Runtime, runtime
from service.schemas import CategoryName, FeedbackBody, InspectionPage, InspectionView, Judgement, Verdict
from service.uploads import MEDIA_TYPES, File, Upload


def _written_out(value: object) -> object:
    """A number would be read as seconds since 1970, which the description does not offer."""
    if isinstance(value, str) and "-" not in value.strip().lstrip("-"):
        raise ValueError("give a date and time such as 2026-01-31T06:00:00Z")
    return value


_Moment = Annotated[datetime, BeforeValidator(_written_out)]

router = APIRouter(prefix="/inspections", tags=["inspections"])

_CSV = ("id", "at", "filename", "category", "verdict", "score", "threshold", "p_value", "version", "part_id", "station",
        "judgement", "judged_at", "promoted_reference_id")  # fmt: skip


@router.get("", responses={**documented(), 200: {"model": InspectionPage, "content": {"text/csv": {}}}})
async def inspections(
    running: Annotated[Runtime, Depends(runtime)],
    category: Annotated[CategoryName | None, Query()] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
    station: Annotated[str | None, Query(max_length=128)] = None,
    part_id: Annotated[str | None, Query(max_length=128)] = None,
    judgement: Annotated[Judgement | None, Query()] = None,
    since: Annotated[_Moment | None, Query(description="Not before this time; UTC when it names no zone.")] = None,
    until: Annotated[_Moment | None, Query(description="Before this time.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    format: Annotated[Literal["json", "csv"], Query(description="csv: everything that matches, streamed.")] = "json",
) -> Response:
    """The history, newest first."""
    wanted = InspectionFilter(category, verdict, station, part_id, judgement, _zoned(since), _zoned(until))
    catalogue = running.library.catalogue
    if format == "csv":
        lines = _csv_lines(catalogue.all_inspections(wanted))
        return StreamingResponse(lines, media_type="text/csv; charset=utf-8")
    page = await asyncio.to_thread(catalogue.inspections, wanted, cursor, limit)
    shown = InspectionPage(inspections=tuple(map(history.view, page.items)), next_cursor=page.next_cursor)
    return Response(shown.model_dump_json(), media_type="application/json")


@router.get("/{inspection_id}", responses=documented("not-found"))
async def inspection(inspection_id: str, running: Annotated[Runtime, Depends(runtime)]) -> InspectionView:
    """One inspection."""
    return history.view(await _find(running, inspection_id))


@router.get("/{inspection_id}/map.png", response_class=Response, responses=documented("not-found"))
async def anomaly_map(inspection_id: str, running: Annotated[Runtime, Depends(runtime)]) -> Response:
    """The anomaly map over the crop: 16-bit grey PNG, 256×256, value / 65535 × 2."""
    found = await _find(running, inspection_id)
    path = running.inspections_folder / (found.map_name or "")
    if not await asyncio.to_thread(path.is_file):
        raise ProblemError("not-found", "The map of this inspection is no longer kept.")
    return Response(await asyncio.to_thread(path.read_bytes), media_type="image/png")


@router.get("/{inspection_id}/image", response_class=Response, responses=documented("not-found"))
async def image(inspection_id: str, running: Annotated[Runtime, Depends(runtime)]) -> Response:
    """The picture as it was sent."""
    data, suffix = await _picture(running, await _find(running, inspection_id))
    return Response(data, media_type=MEDIA_TYPES[suffix])


@router.post("/{inspection_id}/feedback", responses=documented("not-found", "storage-full", "conflict"))
async def feedback(
    inspection_id: str, body: FeedbackBody, running: Annotated[Runtime, Depends(runtime)], request: Request
) -> InspectionView:
    """Say whether the part was good or defective, or take that back.

    A good part's picture becomes a reference of its category, so the same false reject does not come back. Any later
    judgement takes that reference out again, unless it was one before.
    """
    found = await _find(running, inspection_id)
    judgement = None if body.judgement == "none" else body.judgement
    if judgement == found.judgement:
        return history.view(found)
    if found.promoted_reference_id is not None:
        await asyncio.to_thread(running.library.remove, [found.promoted_reference_id])
    promoted = await _promote(running, found) if judgement == "good" else None
    judged = await asyncio.to_thread(running.library.catalogue.judge, inspection_id, judgement, promoted)
    return history.view(judged)


async def _promote(running: Runtime, found: Inspection) -> int | None:
    """Make the inspected picture a reference; None when it is one of somebody else's making already."""
    if found.category is None:
        raise ProblemError("conflict", "The inspection has no category that its picture could become a reference of.")
    data, _ = await _picture(running, found)
    [decoded] = await running.decoder.decode(Upload((File(found.filename, data),)))
    if isinstance(decoded, ImageRefused):
        raise from_refusal(decoded)
    [outcome] = (await promote(running, found.category, decoded)).outcomes
    return outcome.reference_id if outcome.status == "added" else None


async def _find(running: Runtime, inspection_id: str) -> Inspection:
    return await asyncio.to_thread(running.library.catalogue.inspection, inspection_id)


async def _picture(running: Runtime, found: Inspection) -> tuple[bytes, str]:
    if found.image_sha256 is None or found.image_suffix is None:
        raise ProblemError("not-found", "The picture of this inspection is no longer kept.")
    data = await asyncio.to_thread(running.library.read_original, found.image_sha256, found.image_suffix)
    return data, found.image_suffix


def _zoned(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def _csv_lines(found: Iterator[Inspection]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(_CSV)
    for each in found:
        writer.writerow([_cell(getattr(each, column)) for column in _CSV])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _cell(value: object) -> str:
    """A cell's text. Spreadsheets run text that begins like a formula: a quote mark keeps it text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
