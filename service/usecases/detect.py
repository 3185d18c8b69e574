"""Answers a request to detect: decode, detect, record, once for each `Idempotency-Key`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from indexer.domain.bit_depth import BitDepth
from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound, NoReferencesError
from indexer.domain.inspection import Inspection
from indexer.references.snapshot_loader import PublishedState
from service.inference.decoder import DecodedImage, Upload
from service.inference.detection_jobs import TimedDetection
from service.inference.image_reading import reading_of_parts
from service.observability.tracing import Stage
from service.recording.idempotency import KeyedRequest, new_inspection_id
from service.recording.recorder import PendingInspection, RecordResult
from service.state import AppState
from service.thread_pools import ThreadPool
from service.usecases.detect_images import detect_images


@dataclass(frozen=True)
class DetectParameters:
    """What a request asks for. category: None compares with that of the most similar reference of all.

    min_version: oldest snapshot to search. bit_depth: of files with 16 bits per channel; None uses the category's.
    record: whether the inspections belong to the history. wait_for_recording: whether to answer once they are there.
    """

    category: str | None
    part_id: str | None
    station: str | None
    min_version: int
    bit_depth: BitDepth | None
    record: bool
    wait_for_recording: bool


@dataclass(frozen=True)
class DetectOutcome:
    """What became of the images of one request, in order.

    results: per image an Inspection that was recorded for the same `Idempotency-Key` before, a new PendingInspection,
    or the error that kept it from being inspected. recorded: whether the new ones are in the history; None when the
    database's answer was lost, or nobody waits for it. settings: of every category, by name, as they were applied.
    """

    results: tuple[Inspection | PendingInspection | Exception, ...]
    recorded: bool | None
    settings: Mapping[str, CategorySettings]


async def detect(
    state: AppState,
    upload: Upload,
    parameters: DetectParameters,
    keyed: KeyedRequest | None,
    received: float,
    answered: AsyncExitStack,
) -> DetectOutcome:
    """Decode the images of a request, detect anomalies in them and record the detections together.

    keyed: set for a request that may be repeated. received: when the request arrived (monotonic seconds). answered:
    closed once the request is answered; recording that nobody waits for begins then.
    CategoryNotFound and NoReferencesError when there is nothing to compare with, SnapshotBehind when the snapshot is
    too old; the error of the only image when it cannot be inspected; QueueFullError when the images do not fit into
    the queue.
    """
    _time_request(state, [Stage("receive", received, time.monotonic())])
    await state.wait_for_version(parameters.min_version)
    recorded_before: dict[str, Inspection] = {}
    if keyed is not None:
        recorded_before = await state.thread_pools.detection(state.recorder.earlier, keyed)
    count = len(upload.files)
    ids = [new_inspection_id() if keyed is None else keyed.inspection_id(index) for index in range(count)]
    new = [index for index in range(count) if ids[index] not in recorded_before]
    published = state.reference_store.published
    if new:
        _check_references(published, parameters.category)
    reading = reading_of_parts(published, parameters.category, parameters.bit_depth)
    files = [upload.files[index] for index in new]
    decoded, detections = await detect_images(state, files, parameters.category, published, reading)
    _time(state, decoded, detections)
    if count == 1 and detections and isinstance(detections[0], Exception):
        raise detections[0]

    timestamp, total_ms = datetime.now(UTC), (time.monotonic() - received) * 1000
    pending = {
        ids[index]: PendingInspection(
            ids[index], timestamp, image, detection, parameters.part_id, parameters.station, total_ms, keyed
        )
        for index, image, detection in zip(new, decoded, detections, strict=True)
        if isinstance(image, DecodedImage) and isinstance(detection, TimedDetection)
    }
    recording = RecordResult(False)
    if parameters.record:
        inspections = list(pending.values())
        record_later = partial(_record, state, inspections, state.thread_pools.recording)
        waits = parameters.wait_for_recording or state.settings.read_only  # which records nothing, and knows at once
        if waits or not state.deferred.defer(len(inspections), record_later, answered):
            recording = await _record(state, inspections, state.thread_pools.detection)
            recorded_before |= recording.earlier
        else:
            recording = RecordResult(None)
    problems = {
        ids[index]: problem for index, problem in zip(new, detections, strict=True) if isinstance(problem, Exception)
    }
    results: dict[str, Inspection | PendingInspection | Exception] = {**pending, **problems, **recorded_before}
    return DetectOutcome(tuple(results[inspection_id] for inspection_id in ids), recording.recorded, published.settings)


def _check_references(published: PublishedState, category: str | None) -> None:
    if category is not None and category not in published.settings:
        raise CategoryNotFound(f"there is no category {category!r}")
    if len(published.memory.rows_of(category)) == 0:
        raise NoReferencesError("the memory is empty" if category is None else f"no references of {category!r}")


def _time(
    state: AppState, decoded: Sequence[DecodedImage | Exception], detections: Sequence[TimedDetection | Exception]
) -> None:
    """Report the duration of each image's stages to metrics and traces."""
    for image, detection in zip(decoded, detections, strict=True):
        if isinstance(image, DecodedImage) and isinstance(detection, TimedDetection):
            for stage in detection.stages:
                state.metrics.stage(stage.name, stage.seconds)
            state.tracing.stages((*image.stages, *detection.stages))


def _time_request(state: AppState, stages: Sequence[Stage]) -> None:
    """The same of stages that a request's images go through together."""
    for stage in stages:
        state.metrics.stage(stage.name, stage.seconds)
    state.tracing.stages(stages)


async def _record(state: AppState, inspections: Sequence[PendingInspection], pool: ThreadPool) -> RecordResult:
    """Record the new inspections of one request, and count them; a repeated request was counted the first time."""
    recording = RecordResult(False)
    if not state.settings.read_only:
        begun = time.monotonic()
        recording = await pool(state.recorder.record, inspections)
        _time_request(state, [Stage("record", begun, time.monotonic()), *recording.stages])
    new = [inspection.timed.detection for inspection in inspections if inspection.id not in recording.earlier]
    for detection in new:
        state.metrics.inspected(detection.category, detection.decision.verdict, detection.decision.p_value)
    if not recording.recorded and not state.settings.read_only:
        state.metrics.unrecorded(len(new))
    return recording
