"""`/stations`: stations of line agents, as each agent reports its own, and the images of their cameras."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from indexer.domain.station import MAX_STATIONS, ReportedStation
from indexer.imaging.decode import ImageLimits, read_image
from service.errors import Conflict
from service.http.problem_types import ProblemError, documented_problems
from service.http.uploads import documented_upload, read_upload
from service.routes.dependencies import app_state
from service.schemas.stations import FrameFields, StationReport, StationsResponse, StationView, StationWatchResponse
from service.schemas.text import Text
from service.state import AppState
from service.station_frames import StationFrames

router = APIRouter(prefix="/stations", tags=["stations"])

Name = Annotated[Text, Path()]

_MAX_FRAME_SIDE = 640
_FRAME_LIMITS = ImageLimits(512 << 10, _MAX_FRAME_SIDE**2, _MAX_FRAME_SIDE, 1)
_FRAME_PROBLEMS = ("image-rejected", "image-too-large", "unsupported-format", "request-too-large", "queue-full")


@router.get("", responses=documented_problems())
async def stations(state: Annotated[AppState, Depends(app_state)]) -> StationsResponse:
    """The stations with their sources, gates and sinks: which work, the last error of each, and the last part."""

    def read() -> tuple[StationView, ...]:
        return tuple(_view(station, state.station_frames) for station in state.reference_store.catalogue.stations.all())

    return StationsResponse(stations=await asyncio.to_thread(read))


@router.put("/{name}", responses=documented_problems("conflict"))
async def report_station(
    name: Name, body: StationReport, state: Annotated[AppState, Depends(app_state)]
) -> StationView:
    """Report a station's state in the place of its earlier report.

    The line agent does so every three seconds, and when an error appears or ends. While the response says `watched`, it
    sends images of its camera to `PUT /stations/{name}/frame`. The audit trail has no entry for it.
    """
    report = body.model_dump(mode="json")

    def store() -> StationView | None:
        stored = state.reference_store.catalogue.stations.report(name, report)
        return None if stored is None else _view(stored, state.station_frames)

    view = await asyncio.to_thread(store)
    if view is None:
        raise Conflict(f"{MAX_STATIONS} stations have reported within 30 days: no further one is kept.")
    return view


@router.put(
    "/{name}/frame", openapi_extra=documented_upload(FrameFields), responses=documented_problems(*_FRAME_PROBLEMS)
)
async def send_frame(
    name: Name, request: Request, state: Annotated[AppState, Depends(app_state)]
) -> StationWatchResponse:
    """Send the newest image of a station's camera: a JPEG of at most 640 pixels a side and 512 KiB.

    It replaces the station's earlier one, and is deleted within half a minute once nobody watches. A frame of a station
    that nobody watches is not stored. It is not inspected, and is neither in the history nor in backups.
    """
    upload, fields = await read_upload(request, FrameFields, 1)
    file = upload.files[0]

    def store() -> bool:
        if read_image(file.data, _FRAME_LIMITS).encoding.format != "JPEG":
            raise ProblemError("unsupported-format", "A frame is a JPEG.", reason="not-a-jpeg")
        return state.station_frames.store(name, file.data, fields.age_s)

    return StationWatchResponse(watched=await state.thread_pools.files(store))


@router.get(
    "/{name}/frame",
    response_class=Response,
    responses={
        **documented_problems("not-found"),
        200: {
            "description": "The frame.",
            "content": {"image/jpeg": {}},
            "headers": {"Age": {"description": "Seconds since it was taken.", "schema": {"type": "integer"}}},
        },
        204: {"description": "There is no frame now; the agent has been asked for one, if it can send any."},
    },
)
async def frame(name: Name, state: Annotated[AppState, Depends(app_state)]) -> Response:
    """The newest image of a station's camera, and for the next ten seconds have its agent send new ones.

    The agent learns of it with its next report, within three seconds; until then there is none (204). `Age` says how
    many seconds ago it was taken.
    """

    def read() -> Response:
        if not state.reference_store.catalogue.stations.has_reported(name):
            raise ProblemError("not-found", f"No station {name!r} has reported within 30 days.")
        if not state.settings.read_only:
            state.station_frames.watch(name)
        latest = state.station_frames.latest(name)
        headers = {"Cache-Control": "no-store"}
        if latest is None:
            return Response(status_code=204, headers=headers)
        return Response(latest.data, media_type="image/jpeg", headers={**headers, "Age": str(int(latest.age_s))})

    return await asyncio.to_thread(read)


def _view(station: ReportedStation, frames: StationFrames) -> StationView:
    return StationView(
        name=station.name,
        reported_at=station.reported_at,
        silent=station.is_silent(datetime.now(UTC)),
        watched=frames.is_watched(station.name),
        **dict(StationReport.model_validate(station.report)),
    )
