"""Detects anomalies in the images of one request: decode, detect, record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from indexer.detection.detector import Detection
from indexer.domain.bit_depth import BitDepth
from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound, NoReferencesError
from indexer.domain.inspection import Inspection
from indexer.domain.profile import Profile
from indexer.imaging.decode import ImageRejected
from indexer.references.snapshot_loader import PublishedState
from service.inference.decoder import DecodedImage, Upload
from service.inference.detection_jobs import TimedDetection
from service.inference.image_reading import reading_of_parts
from service.recording.idempotency import KeyedRequest, new_inspection_id
from service.recording.recorder import PendingInspection, RecordResult
from service.state import AppState


@dataclass(frozen=True)
class DetectParameters:
    """What a request asks for. category: None compares with that of the most similar reference of all.

    min_version: oldest snapshot to search. bit_depth: of files with 16 bits per channel; None uses the category's.
    record: whether the inspections belong to the history.
    """

    category: str | None
    part_id: str | None
    station: str | None
    min_version: int
    bit_depth: BitDepth | None
    record: bool


@dataclass(frozen=True)
class DetectOutcome:
    """What became of the images of one request, in order.

    results: per image an Inspection that was recorded for the same `Idempotency-Key` before, a new PendingInspection,
    or the error that kept it from being inspected. recorded: whether the new ones are in the history; None when the
    database's answer was lost. settings: of every category, by name, as they were applied.
    """

    results: tuple[Inspection | PendingInspection | Exception, ...]
    recorded: bool | None
    settings: Mapping[str, CategorySettings]


async def detect(
    state: AppState, upload: Upload, parameters: DetectParameters, keyed: KeyedRequest | None, received: float
) -> DetectOutcome:
    """Decode the images of a request, detect anomalies in them and record the detections together.

    keyed: set for a request that may be repeated. received: when the request arrived (monotonic seconds).
    CategoryNotFound and NoReferencesError when there is nothing to compare with, SnapshotBehind when the snapshot is
    too old; the error of the only image when it cannot be inspected; QueueFullError when the images do not fit into
    the queue.
    """
    await state.wait_for_version(parameters.min_version)
    recorded_before: dict[str, Inspection] = {}
    if keyed is not None:
        recorded_before = await state.thread_pools.detection(state.recorder.earlier, keyed)
    count = len(upload.files)
    ids = [new_inspection_id() if keyed is None else keyed.inspection_id(index) for index in range(count)]
    new = [index for index in range(count) if ids[index] not in recorded_before]
    published = state.library.published
    if new:
        _check_references(published, parameters.category)
    reading = reading_of_parts(published, parameters.category, parameters.bit_depth)
    decoded = await state.decoder.decode(Upload(tuple(upload.files[index] for index in new)), reading)
    await _wait_for_adaptation(state, parameters.category, published, decoded)
    detections = await _inspect(state, parameters.category, published, decoded)
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
        recording = await state.thread_pools.detection(state.recorder.record, list(pending.values()))
        state.metrics.stage("record", time.monotonic() - received - total_ms / 1000)
        recorded_before |= recording.earlier
        _count(
            state,
            [each.timed.detection for each in pending.values() if each.id not in recorded_before],
            recorded=recording.recorded,
        )
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


async def _wait_for_adaptation(
    state: AppState,
    category: str | None,
    published: PublishedState,
    decoded: Sequence[DecodedImage | ImageRejected],
) -> None:
    """Give the category's first calibration for images that are stored like these half of the deadline to be made."""
    if category is None:
        return
    profile = published.profiles.get(category, Profile())
    encodings = {each.original.encoding for each in decoded if isinstance(each, DecodedImage)}
    for encoding in encodings:
        if encoding is not None and profile.is_finer_than(encoding):
            await state.adaptations.prepared(category, encoding, state.settings.deadline_ms / 2000)


async def _inspect(
    state: AppState,
    category: str | None,
    published: PublishedState,
    decoded: Sequence[DecodedImage | ImageRejected],
) -> list[TimedDetection | Exception]:
    """Run the images through the worker; a detection or an error per image, in order. Raises QueueFullError."""
    images = [each for each in decoded if isinstance(each, DecodedImage)]
    batches = max(1, -(-len(images) // state.settings.batch_size))
    futures = state.worker.submit_detections(
        [(image.prepared, state.detection_jobs.of(image, category, published)) for image in images],
        state.settings.deadline_ms / 1000 * batches,
    )
    outcomes = iter(await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True))
    found: list[TimedDetection | Exception] = []
    for each in decoded:
        answer = each if isinstance(each, ImageRejected) else next(outcomes)
        if isinstance(answer, TimedDetection | Exception):
            found.append(answer)
        else:
            raise answer
    return found


def _time(
    state: AppState, decoded: Sequence[DecodedImage | ImageRejected], found: Sequence[TimedDetection | Exception]
) -> None:
    """Report the duration of each image's stages to metrics and traces."""
    for image, detection in zip(decoded, found, strict=True):
        if isinstance(image, DecodedImage) and isinstance(detection, TimedDetection):
            stages = {
                "queue": detection.queue_seconds,
                "encode": detection.encode_seconds,
                "search": detection.search_seconds,
            }
            for stage, seconds in stages.items():
                state.metrics.stage(stage, seconds)
            state.tracing.stages((image.stage, *detection.stages))


def _count(state: AppState, detections: Sequence[Detection], *, recorded: bool | None) -> None:
    """Count new detections; a repeated request was counted the first time."""
    for each in detections:
        state.metrics.inspected(each.category, each.decision.verdict, each.decision.p_value)
    if not recorded:
        state.metrics.unrecorded(len(detections))
