"""`POST /detect`."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Header, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from indexer.domain.category import CategorySettings
from indexer.domain.inspection import Inspection
from indexer.imaging.decode import ImageRejected
from indexer.imaging.encode import encode_png
from indexer.imaging.heatmap import render_overlay
from indexer.references.snapshot_loader import PublishedState
from indexer.scoring import NoReferences
from indexer.search import SearchCoroutine
from indexer.verdicts.ranking import references_needed
from service.http.problems import ProblemError, documented_problems, to_problem
from service.http.uploads import documented_upload, read_upload
from service.inference.decoder import DecodedImage, Upload
from service.inference.detector import Detection
from service.inference.image_reading import reading_of_parts
from service.inference.worker import JobContext
from service.recording.idempotency import KeyedRequest, new_inspection_id
from service.recording.map_images import MAP_SCALE, map_png
from service.recording.recorder import PendingInspection
from service.routes.dependencies import DetectionLease, app_state
from service.schemas.categories import BitDepthField
from service.schemas.detection import DetectionView, DetectResponse, MapView, RejectedImageView
from service.schemas.inspections import InspectionView, inspection_view
from service.schemas.text import CategoryName, HeaderText, Text
from service.state import AppState

router = APIRouter(tags=["detect"])

_Key = Annotated[
    HeaderText | None,
    Header(
        alias="Idempotency-Key",
        description="The same request again, with the same API key, answers what was recorded and inspects nothing "
        "twice; `map` and `overlay` are null then. With other images or fields it is refused. A key is known for as "
        "long as its inspection is kept.",
    ),
]

log = logging.getLogger("touchstone")


class _Options(BaseModel):
    """The text fields of a detection."""

    model_config = ConfigDict(extra="forbid")

    category: CategoryName | None = Field(
        None, description="Compare with this category's references; else the most similar reference of all says which."
    )
    part_id: Text | None = Field(None, description="Kept with the inspection.")
    station: Text | None = Field(None, description="Kept with the inspection.")
    min_version: int = Field(
        0, ge=0, description="Compare with no older snapshot than this, such as the version that an addition answered."
    )
    bit_depth: BitDepthField = Field(
        None, description="Bits that the camera puts into files of 16 a channel; else as the category has it."
    )
    map: Literal["none", "png", "raw"] = Field("none", description="The anomaly map, as 16-bit PNG or float32 .npy.")
    overlay: bool = Field(False, description="The image with the map and the regions drawn in, as PNG.")


@router.post(
    "/detect",
    openapi_extra=documented_upload(_Options),
    responses=documented_problems(
        "no-references",
        "not-found",
        "image-refused",
        "image-too-large",
        "unsupported-format",
        "request-too-large",
        "idempotency-key-reused",
        "snapshot-behind",
        "busy",
        "deadline-exceeded",
        "not-ready",
    ),
)
async def detect(
    request: Request,
    state: Annotated[AppState, Depends(app_state)],
    admitted: DetectionLease,
    idempotency_key: _Key = None,
) -> DetectResponse:
    """Inspect one or several images; one result per image, in order.

    An image that cannot be used gives an error in its place; if it is the only one, it is the answer's own error.
    """
    begun = time.monotonic()
    upload, options = await read_upload(request, _Options, state.settings.max_images)
    admitted.add(len(upload.files) - 1)
    await state.wait_for_version(options.min_version)
    actor, _ = request.scope["access"]
    keyed = None
    kept: dict[str, Inspection] = {}
    if idempotency_key is not None:
        keyed = await state.thread_pools.detection(KeyedRequest.of, actor.key_id, idempotency_key, upload, options)
        kept = await state.thread_pools.detection(state.recorder.earlier, keyed)
    ids = [new_inspection_id() if keyed is None else keyed.inspection_id(each) for each in range(len(upload.files))]
    fresh = [position for position in range(len(ids)) if ids[position] not in kept]
    published = state.library.published
    settings = published.settings
    if fresh:
        _check_references(published, options.category)
    reading = reading_of_parts(published, options.category, options.bit_depth)
    decoded = await state.decoder.decode(Upload(tuple(upload.files[position] for position in fresh)), reading)
    found = await _inspect(state, options.category, published, decoded)
    _time(state, decoded, found)
    if len(ids) == 1 and found and isinstance(found[0], ProblemError):
        raise found[0]

    at, total_ms = datetime.now(UTC), (time.monotonic() - begun) * 1000
    findings = {
        position: PendingInspection(
            ids[position], at, image, detection, options.part_id, options.station, total_ms, keyed
        )
        for position, image, detection in zip(fresh, decoded, found, strict=True)
        if isinstance(image, DecodedImage) and isinstance(detection, Detection)
    }
    recording = await state.thread_pools.detection(state.recorder.record, list(findings.values()))
    state.metrics.stage("record", time.monotonic() - begun - total_ms / 1000)
    kept |= recording.earlier
    _count(state, [each.detection for each in findings.values() if each.id not in kept], recorded=recording.kept)
    problems = {position: each for position, each in zip(fresh, found, strict=True) if isinstance(each, ProblemError)}
    results: list[DetectionView | RejectedImageView] = []
    for position, inspection_id in enumerate(ids):
        if inspection_id in kept:
            shown = inspection_view(kept[inspection_id])
            needed = _references_needed(shown, settings)
            results.append(DetectionView(**shown.model_dump(), recorded=True, references_needed=needed))
        elif position in problems:
            state.metrics.problem(problems[position].kind)
            error = problems[position].body(request.scope["request_id"])
            results.append(RejectedImageView(filename=upload.files[position].name, error=error))
        else:
            overlay = await _overlay(state, findings[position]) if options.overlay else None
            view = partial(_answer, findings[position], options, settings, overlay, recorded=recording.kept)
            results.append(await state.thread_pools.detection(view))
    return DetectResponse(version=state.library.memory.version, results=tuple(results))


def _check_references(published: PublishedState, category: str | None) -> None:
    if category is not None and category not in published.settings:
        raise ProblemError("not-found", f"There is no category {category!r}.")
    if len(published.memory.rows_of(category)) == 0:
        raise NoReferences("the memory is empty" if category is None else f"no references of {category!r}")


async def _inspect(
    state: AppState,
    category: str | None,
    published: PublishedState,
    decoded: Sequence[DecodedImage | ImageRejected],
) -> list[Detection | ProblemError]:
    """What was found in each image, or why nothing was, in order. QueueFullError when the queue is full."""

    def work_on(image: DecodedImage) -> Callable[[JobContext], SearchCoroutine[Detection]]:
        return lambda turn: state.detector.detect(turn, image, category, published)

    images = [each for each in decoded if isinstance(each, DecodedImage)]
    batches = max(1, -(-len(images) // state.settings.batch_size))
    futures = state.worker.submit_detections(
        [(image.prepared, work_on(image)) for image in images], state.settings.deadline_ms / 1000 * batches
    )
    answers = iter(await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True))
    found: list[Detection | ProblemError] = []
    for each in decoded:
        answer = each if isinstance(each, ImageRejected) else next(answers)
        if isinstance(answer, Detection):
            found.append(answer)
        elif isinstance(answer, Exception):
            found.append(to_problem(answer))
        else:
            raise answer
    return found


def _time(
    state: AppState, decoded: Sequence[DecodedImage | ImageRejected], found: Sequence[Detection | ProblemError]
) -> None:
    """Time the stages that each image went through."""
    for image, detection in zip(decoded, found, strict=True):
        if isinstance(image, DecodedImage) and isinstance(detection, Detection):
            stages = {
                "queue": detection.queue_seconds,
                "encode": detection.encode_seconds,
                "search": detection.search_seconds,
            }
            for stage, seconds in stages.items():
                state.metrics.stage(stage, seconds)
            state.tracing.stages((image.stage, *detection.stages))


def _count(state: AppState, detections: Sequence[Detection], *, recorded: bool | None) -> None:
    """Count what was found; a request that was answered before has been counted then."""
    for each in detections:
        state.metrics.inspected(each.category, each.decision.verdict, each.decision.p_value)
    if not recorded:
        state.metrics.unrecorded(len(detections))


def _references_needed(shown: InspectionView, settings: Mapping[str, CategorySettings]) -> int | None:
    if shown.verdict != "uncalibrated":
        return None
    return references_needed(settings.get(shown.category, CategorySettings()).false_reject_rate)


async def _overlay(state: AppState, finding: PendingInspection) -> str:
    """The image with the map and the regions drawn in, as PNG in base64."""
    detection, space = finding.detection, state.encoder.space
    regions = [region for region, _ in detection.regions]

    def draw(image: NDArray[np.uint8]) -> str:
        return _base64(encode_png(render_overlay(image, detection.map, detection.decision.threshold, regions, space)))

    return await state.decoder.again(finding.image.original, draw)


def _answer(
    finding: PendingInspection,
    options: _Options,
    settings: Mapping[str, CategorySettings],
    overlay: str | None,
    *,
    recorded: bool | None,
) -> DetectionView:
    detection = finding.detection
    anomaly_map = None
    if options.map == "png":
        anomaly_map = MapView(format="png16", data=_base64(map_png(detection.map)), scale=MAP_SCALE)
    elif options.map == "raw":
        file = io.BytesIO()
        np.save(file, detection.map)
        anomaly_map = MapView(format="npy", data=_base64(file.getvalue()), scale=1.0)
    shown = inspection_view(finding.inspection()).model_copy(update={"picture": "whole" if recorded else "none"})
    return DetectionView(
        **shown.model_dump(),
        map=anomaly_map,
        overlay=overlay,
        recorded=recorded,
        references_needed=_references_needed(shown, settings),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
