"""`/stations`: stations of line agents, as each agent reports its own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path

from indexer.domain.station import MAX_STATIONS, ReportedStation
from service.errors import Conflict
from service.http.problems import documented_problems
from service.routes.dependencies import app_state
from service.schemas.stations import StationReport, StationsResponse, StationView
from service.schemas.text import Text
from service.state import AppState

router = APIRouter(prefix="/stations", tags=["stations"])


@router.get("", responses=documented_problems())
async def stations(state: Annotated[AppState, Depends(app_state)]) -> StationsResponse:
    """The stations with their sources, gates and sinks: which work, the last error of each, and the last part."""
    reported = await asyncio.to_thread(state.library.catalogue.stations.all)
    return StationsResponse(stations=tuple(map(_view, reported)))


@router.put("/{name}", responses=documented_problems("conflict"))
async def report_station(
    name: Annotated[Text, Path()], body: StationReport, state: Annotated[AppState, Depends(app_state)]
) -> StationView:
    """Report a station's state in the place of its earlier report.

    The line agent does so every three seconds, and when an error appears or ends. The audit trail has no entry for it.
    """
    report = body.model_dump(mode="json")
    kept = await asyncio.to_thread(state.library.catalogue.stations.report, name, report)
    if kept is None:
        raise Conflict(f"{MAX_STATIONS} stations have reported within 30 days: no further one is kept.")
    return _view(kept)


def _view(station: ReportedStation) -> StationView:
    return StationView(
        name=station.name,
        reported_at=station.reported_at,
        silent=station.is_silent(datetime.now(UTC)),
        **dict(StationReport.model_validate(station.report)),
    )
