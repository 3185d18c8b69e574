"""`POST /detect`."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal, TypedDict

import numpy as np
from fastapi import APIRouter, Depends, Header, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from indexer.calibration.conformal import references_needed
from indexer.domain.category import CategorySettings
from indexer.domain.inspection import Inspection
from indexer.imaging.encode import encode_png
from indexer.imaging.heatmap import render_overlay
from service.http.problem_types import documented_problems
from service.http.problems import to_problem
from service.http.uploads import documented_upload, read_upload
from service.recording.idempotency import KeyedRequest
from service.recording.map_images import MAP_SCALE, map_png
from service.recording.recorder import PendingInspection
from service.routes.calibration_view import calibration_view
from service.routes.dependencies import AfterAnswer, DetectionLease, app_state
from service.schemas.categories import BitDepthField
from service.schemas.detection import DetectionView, DetectResponse, MapView, RejectedImageView
from service.schemas.inspections import InspectionView, inspection_view
from service.schemas.text import CategoryName, HeaderText, Text
from service.state import AppState
from service.usecases.detect import DetectParameters
from service.usecases.detect import detect as run_detection

router = APIRouter(tags=["detect"])

_Key = Annotated[
    HeaderText | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: sent again with the same API key, it returns the recorded "
        "result, with `map` and `overlay` null. With other images or fields it is refused. A key is remembered as "
        "long as its inspection is stored.",
    ),
]


class _Options(BaseModel):
    """The text fields of a detection."""

    model_config = ConfigDict(extra="forbid")

    category: CategoryName | None = Field(
        None, description="Category to compare with; by default the category of the most similar reference."
    )
    part_id: Text | None = Field(None, description="Stored with the inspection.")
    station: Text | None = Field(None, description="Stored with the inspection.")
    min_version: int = Field(
        0,
        ge=0,
        description="Minimum index version to compare with, for example the version in the response of an addition.",
    )
    bit_depth: BitDepthField = Field(
        None, description="Number of bits used in 16-bit channels; default: the category's setting."
    )
    record: bool = Field(
        True, description="false: a trial, which does not count in history, yield, drift and verdict counts."
    )
    wait_for_recording: bool = Field(
        True,
        description="false: answer before the inspection is recorded, which follows at once; `recorded` is then null.",
    )
    map: Literal["none", "png", "raw"] = Field("none", description="The anomaly map, as 16-bit PNG or float32 .npy.")
    overlay: bool = Field(False, description="The image with heat map and regions drawn on it, as PNG.")


class _Missing(TypedDict):
    """What a part without a verdict lacks."""

    references_needed: int | None
    advice: str | None


@router.post(
    "/detect",
    openapi_extra=documented_upload(_Options),
    responses=documented_problems(
        "no-references",
        "not-found",
        "image-rejected",
        "image-too-large",
        "unsupported-format",
        "request-too-large",
        "idempotency-key-reused",
        "version-behind",
        "queue-full",
        "deadline-exceeded",
        "not-ready",
    ),
)
async def detect(
    request: Request,
    state: Annotated[AppState, Depends(app_state)],
    answered: AfterAnswer,
    admitted: DetectionLease,
    idempotency_key: _Key = None,
) -> DetectResponse:
    """Inspect one or several images; one result per image, in order.

    An image that cannot be used gives an error in its place; if it is the only one, it is the answer's own error.
    """
    received = time.monotonic()
    upload, options = await read_upload(request, _Options, state.settings.max_images)
    admitted.add(len(upload.files) - 1)
    actor, _ = request.scope["access"]
    keyed = None
    if idempotency_key is not None:
        fields = options.model_dump(mode="json", exclude={"wait_for_recording"})  # which makes it no other request
        keyed = await state.thread_pools.detection(KeyedRequest.of, actor.key_id, idempotency_key, upload, fields)
    parameters = DetectParameters(**options.model_dump(exclude={"map", "overlay"}))
    outcome = await run_detection(state, upload, parameters, keyed, received, answered)
    results: list[DetectionView | RejectedImageView] = []
    for file, result in zip(upload.files, outcome.results, strict=True):
        match result:
            case Inspection():
                shown = inspection_view(result)
                missing = _missing(state, shown, outcome.settings)
                results.append(DetectionView(**shown.model_dump(), recorded=True, **missing))
            case Exception():
                problem = to_problem(result)
                state.metrics.problem(problem.kind)
                results.append(RejectedImageView(filename=file.name, error=problem.body(request.scope["request_id"])))
            case PendingInspection():
                overlay = await _overlay(state, result) if options.overlay else None
                view = partial(
                    _detection_view, state, result, options, outcome.settings, overlay, recorded=outcome.recorded
                )
                results.append(await state.thread_pools.detection(view))
    return DetectResponse(version=state.reference_store.memory.version, results=tuple(results))


def _missing(state: AppState, shown: InspectionView, settings: Mapping[str, CategorySettings]) -> _Missing:
    if shown.verdict != "uncalibrated":
        return _Missing(references_needed=None, advice=None)
    own = settings.get(shown.category, CategorySettings())
    advice = calibration_view(state, shown.category, own).advice
    return _Missing(
        references_needed=references_needed(own.false_reject_rate),
        advice=advice or "It was inspected before there was a threshold for it: inspect it again.",
    )


async def _overlay(state: AppState, pending: PendingInspection) -> str:
    """The image with the map and the regions drawn in, as PNG in base64."""
    detection = pending.timed.detection
    regions = [region for region, _ in detection.regions]

    def draw(image: NDArray[np.uint8]) -> str:
        frame, region = detection.scored.frame, detection.criteria.scoring.region
        overlay = render_overlay(image, detection.map, detection.decision.threshold, regions, frame, region)
        return _base64(encode_png(overlay))

    return await state.decoder.again(pending.image.original, draw)


def _detection_view(
    state: AppState,
    pending: PendingInspection,
    options: _Options,
    settings: Mapping[str, CategorySettings],
    overlay: str | None,
    *,
    recorded: bool | None,
) -> DetectionView:
    detection = pending.timed.detection
    anomaly_map = None
    if options.map == "png":
        anomaly_map = MapView(format="png16", data=_base64(map_png(detection.map)), scale=MAP_SCALE)
    elif options.map == "raw":
        file = io.BytesIO()
        np.save(file, detection.map)
        anomaly_map = MapView(format="npy", data=_base64(file.getvalue()), scale=1.0)
    shown = inspection_view(pending.inspection()).model_copy(
        update={"image_availability": "original" if recorded else "none"}
    )
    return DetectionView(
        **shown.model_dump(),
        map=anomaly_map,
        overlay=overlay,
        recorded=recorded,
        **_missing(state, shown, settings),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
