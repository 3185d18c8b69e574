"""Decodes images and detects anomalies in them, each in its category's geometry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from indexer.domain.errors import GeometryInactive
from indexer.domain.profile import Profile
from indexer.domain.reading import Reading
from indexer.references.snapshot_loader import PublishedState
from service.inference.decoder import DecodedImage, ImageFile, Upload
from service.inference.detection_jobs import TimedDetection, recognise
from service.inference.worker import QueueFullError
from service.state import AppState

T = TypeVar("T")

log = logging.getLogger("touchstone")


async def detect_images(
    state: AppState, files: Sequence[ImageFile], category: str | None, published: PublishedState, reading: Reading
) -> tuple[list[DecodedImage | Exception], list[TimedDetection | Exception]]:
    """Each image as it was decoded, and what was detected in it, in order. Raises QueueFullError.

    category: None compares with that of the most similar reference of all. An image whose category gets another
    geometry meanwhile is decoded and searched once more.
    """
    decoded, detections = await _detect(state, files, category, published, reading)
    changed = [index for index, outcome in enumerate(detections) if isinstance(outcome, GeometryInactive)]
    if changed:
        newest = state.reference_store.published
        images, outcomes = await _detect(state, [files[index] for index in changed], category, newest, reading)
        for index, image, outcome in zip(changed, images, outcomes, strict=True):
            decoded[index], detections[index] = image, outcome
    return decoded, detections


async def _detect(
    state: AppState, files: Sequence[ImageFile], category: str | None, published: PublishedState, reading: Reading
) -> tuple[list[DecodedImage | Exception], list[TimedDetection | Exception]]:
    """The same, of images whose categories keep their geometries."""
    decoded, categories = await _decode(state, files, category, published, reading)
    await _wait_for_adaptation(state, categories, published, decoded)
    detections = await _search(state, categories, published, decoded)
    for index, timed in enumerate(detections):
        if isinstance(timed, TimedDetection) and timed.detection.unsearched_category is not None:
            detections[index] = await _with_alternative(state, files[index], timed, published, reading)
    return decoded, detections


async def _with_alternative(
    state: AppState, file: ImageFile, timed: TimedDetection, published: PublishedState, reading: Reading
) -> TimedDetection:
    """The detection, compared with the category of the most similar reference, whose geometry is another.

    That needs the image decoded and searched again; if anything prevents it, the detection is returned as it is.
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


async def _search(
    state: AppState,
    categories: Sequence[str | None],
    published: PublishedState,
    decoded: Sequence[DecodedImage | Exception],
) -> list[TimedDetection | Exception]:
    """Queue the decoded images; a detection or an error per image, in order. Raises QueueFullError."""
    images = [
        (image.prepared, state.detection_jobs.of(image, category, published))
        for image, category in zip(decoded, categories, strict=True)
        if isinstance(image, DecodedImage)
    ]
    futures = state.worker.submit_detections(images, _deadline(state, len(images)))
    detections = await _outcomes(futures)
    outcomes = iter(detections)
    return [next(outcomes) if isinstance(image, DecodedImage) else image for image in decoded]


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
