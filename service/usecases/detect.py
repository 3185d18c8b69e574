"""Detects anomalies in the images of one request: decode, detect, record."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from indexer.domain.bit_depth import BitDepth
from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound, GeometryInactive, NoReferencesError
from indexer.domain.inspection import Inspection
from indexer.domain.profile import Profile
from indexer.domain.reading import Reading
from indexer.references.snapshot_loader import PublishedState
from service.inference.decoder import DecodedImage, ImageFile, Upload
from service.inference.detection_jobs import TimedDetection, recognise
from service.inference.image_reading import reading_of_parts
from service.inference.worker import QueueFullError
from service.observability.tracing import Stage
from service.recording.idempotency import KeyedRequest, new_inspection_id
from service.recording.recorder import PendingInspection, RecordResult
from service.state import AppState
from service.thread_pools import ThreadPool

T = TypeVar("T")

log = logging.getLogger("touchstone")


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
    decoded, detections = await _detect(state, files, parameters.category, published, reading)
    changed = [index for index, outcome in enumerate(detections) if isinstance(outcome, GeometryInactive)]
    if changed:  # its category's geometry, while it was under way: once more, as it is now
        some = [files[index] for index in changed]
        outcomes = zip(
            changed,
            *await _detect(state, some, parameters.category, state.reference_store.published, reading),
            strict=True,
        )
        for index, image, detection in outcomes:
            decoded[index], detections[index] = image, detection
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


async def _detect(
    state: AppState, files: Sequence[ImageFile], category: str | None, published: PublishedState, reading: Reading
) -> tuple[list[DecodedImage | Exception], list[TimedDetection | Exception]]:
    """Each image as it was decoded, and what was detected in it, in order. Raises QueueFullError."""
    decoded, categories = await _decode(state, files, category, published, reading)
    await _wait_for_adaptation(state, categories, published, decoded)
    detections = await _inspect(state, categories, published, decoded)
    for index, timed in enumerate(detections):
        if isinstance(timed, TimedDetection) and timed.detection.unsearched_category is not None:
            detections[index] = await _compared(state, files[index], timed, published, reading)
    return decoded, detections


async def _compared(
    state: AppState, file: ImageFile, timed: TimedDetection, published: PublishedState, reading: Reading
) -> TimedDetection:
    """The detection with what the category of the most similar reference makes of the image, whose geometry is another.

    Whatever keeps it from being compared, the detection stands as it is.
    """
    own = timed.detection
    category = str(own.unsearched_category)
    [image] = await state.decoder.decode(Upload((file,)), published.memory.geometry_of(category), reading)
    if isinstance(image, Exception):
        return timed
    job = state.detection_jobs.comparison(image, category, own, published)
    try:
        [better] = await _outcomes(state.worker.submit_detections([(image.prepared, job)], _deadline(state, 1)))
    except QueueFullError:
        return timed
    if isinstance(better, Exception):
        log.warning("an image was not compared with %r, which it is most like: %r", category, better)
        return timed
    return replace(timed, detection=replace(own, alternative_category=better))


async def _decode(
    state: AppState, files: Sequence[ImageFile], category: str | None, published: PublishedState, reading: Reading
) -> tuple[list[DecodedImage | Exception], list[str | None]]:
    """Each image, prepared to be inspected as its category is, or the error that keeps it from being inspected; and
    that category, None where its search tells it.

    Where the category is not named and not all are inspected alike, it is recognised first, by the view that all have,
    and the image is then decoded once more. Raises QueueFullError.
    """
    upload, memory = Upload(tuple(files)), published.memory
    geometries = {memory.geometry_of(name) for name in ([category] if category is not None else memory.live_categories)}
    if len(geometries) == 1:
        return [*await state.decoder.decode(upload, geometries.pop(), reading)], [category] * len(files)
    decoded: list[DecodedImage | Exception] = [
        *await state.decoder.decode(upload, memory.space.global_geometry, reading)
    ]
    categories: list[str | None] = [None] * len(files)
    for index, outcome in (await _recognise(state, decoded)).items():
        if isinstance(outcome, Exception):
            decoded[index] = outcome
        else:
            categories[index] = outcome
    for geometry in {memory.geometry_of(name) for name in categories if name is not None}:
        if geometry == memory.space.global_geometry:
            continue
        where = [index for index, name in enumerate(categories) if name and memory.geometry_of(name) == geometry]
        decoded_again = await state.decoder.decode(Upload(tuple(files[index] for index in where)), geometry, reading)
        for index, image in zip(where, decoded_again, strict=True):
            decoded[index] = image
    return decoded, categories


async def _recognise(state: AppState, decoded: Sequence[DecodedImage | Exception]) -> dict[int, str | Exception]:
    """By index, of each image that was decoded: the category of its most similar reference, or why there is none."""
    images = {index: image for index, image in enumerate(decoded) if isinstance(image, DecodedImage)}
    futures = state.worker.submit_detections(
        [(image.prepared, recognise) for image in images.values()], _deadline(state, len(images))
    )
    outcomes = await _outcomes(futures)
    return dict(zip(images, outcomes, strict=True))


async def _outcomes(futures: Sequence[Future[T]]) -> list[T | Exception]:
    """What each job returned or raised: one that fails keeps none of the others from its end."""
    outcomes: list[T | Exception] = []
    for outcome in await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
            raise outcome
        outcomes.append(outcome)
    return outcomes


def _deadline(state: AppState, images: int) -> float:
    """Seconds within which the images of one request must start."""
    return state.settings.deadline_ms / 1000 * max(1, -(-images // state.settings.batch_size))


def _check_references(published: PublishedState, category: str | None) -> None:
    if category is not None and category not in published.settings:
        raise CategoryNotFound(f"there is no category {category!r}")
    if len(published.memory.rows_of(category)) == 0:
        raise NoReferencesError("the memory is empty" if category is None else f"no references of {category!r}")


async def _wait_for_adaptation(
    state: AppState,
    categories: Sequence[str | None],
    published: PublishedState,
    decoded: Sequence[DecodedImage | Exception],
) -> None:
    """Give the categories' first calibrations for images that are stored like these half of the deadline to be made."""
    encodings = {
        (category, image.original.encoding)
        for category, image in zip(categories, decoded, strict=True)
        if category is not None and isinstance(image, DecodedImage)
    }
    await asyncio.gather(
        *(
            state.adaptations.prepared(category, encoding, state.settings.deadline_ms / 2000)
            for category, encoding in encodings
            if encoding is not None and published.profiles.get(category, Profile()).is_finer_than(encoding)
        )
    )


async def _inspect(
    state: AppState,
    categories: Sequence[str | None],
    published: PublishedState,
    decoded: Sequence[DecodedImage | Exception],
) -> list[TimedDetection | Exception]:
    """Run the images through the worker; a detection or an error per image, in order. Raises QueueFullError."""
    images = [
        (image.prepared, state.detection_jobs.of(image, category, published))
        for image, category in zip(decoded, categories, strict=True)
        if isinstance(image, DecodedImage)
    ]
    futures = state.worker.submit_detections(images, _deadline(state, len(images)))
    detections = await _outcomes(futures)
    outcomes = iter(detections)
    return [next(outcomes) if isinstance(image, DecodedImage) else image for image in decoded]


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
