"""`GET /inspections/report`: a lot or a shift, to print."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AfterValidator

from service.http.problem_types import documented_problems
from service.reports.html import render_html
from service.reports.report import Report
from service.routes.dependencies import app_state
from service.routes.inspections import Matching
from service.schemas.text import Text
from service.state import AppState
from service.usecases.report import make_report

router = APIRouter(tags=["inspections"])

_MEDIA_TYPES = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("give a time zone of the IANA database, such as Europe/Berlin") from None
    return name


TimeZone = Annotated[Text, AfterValidator(_known_zone)]


@router.get(
    "/inspections/report",
    response_class=Response,
    responses={**documented_problems(), 200: {"content": {"application/pdf": {}, "text/html": {}}}},
)
async def report(
    state: Annotated[AppState, Depends(app_state)],
    matching: Matching,
    format: Annotated[Literal["pdf", "html"], Query(description="html: one file with its images in it.")] = "pdf",
    limit: Annotated[int, Query(ge=1, le=500, description="Defective parts with images, at most.")] = 100,
    time_zone: Annotated[TimeZone, Query(description="In which times are written.")] = "UTC",
) -> Response:
    """A report of the matching inspections: counts, yield, defect classes, and the newest defective parts.

    Each of these has its image, heat map, label and comment. The report says how many older ones it leaves out.
    """
    made = await make_report(state, matching, limit, ZoneInfo(time_zone))
    data = await state.thread_pools.files(_render_pdf if format == "pdf" else render_html, made)
    headers = {"Content-Disposition": f'attachment; filename="report.{format}"', "Cache-Control": "no-store"}
    return Response(data, media_type=_MEDIA_TYPES[format], headers=headers)


def _render_pdf(made: Report) -> bytes:
    from service.reports.pdf import render_pdf  # takes 0.2 s to import, which no start has to wait for

    return render_pdf(made)
