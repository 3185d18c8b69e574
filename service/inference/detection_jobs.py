"""Makes the worker's job of detecting anomalies in one image, and measures how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from indexer.detection.detector import AlternativeCategory, Criteria, Detection, Detector
from indexer.domain.encoding import Encoding
from indexer.domain.errors import GeometryInactive, NoReferencesError
from indexer.domain.notice import Notice
from indexer.domain.profile import Profile
from indexer.references.snapshot_loader import PublishedState
from indexer.search import PatchSearchEngine, SearchCoroutine
from service.inference.decoder import DecodedImage
from service.inference.image_reading import notices_of_part
from service.inference.worker import JobContext
from service.observability.tracing import Stage

T = TypeVar("T")


@dataclass(frozen=True)
class TimedDetection:
    """A detection, with its times in seconds.

    stages: when the image waited, was encoded and was searched for, the search in parts. notices: what people should
    know of how it was read.
    """

    detection: Detection
    queue_seconds: float
    encode_seconds: float
    search_seconds: float
    stages: tuple[Stage, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class DetectionJobs:
    """Makes detection jobs, which run on the worker's thread.

    criteria: what images of a category are judged by, stored as the encoding says, under these settings.
    """

    engine: PatchSearchEngine
    criteria: Callable[[str, Encoding | None, PublishedState], Criteria]

    def of(
        self, image: DecodedImage, category: str | None, published: PublishedState
    ) -> Callable[[JobContext], SearchCoroutine[TimedDetection]]:
        """The job for one image. category: None recognises it. published: settings, and how references were stored."""
        detector = Detector(self.engine, lambda name, encoding: self.criteria(name, encoding, published))

        def run(context: JobContext) -> SearchCoroutine[TimedDetection]:
            started = time.monotonic()
            memory, original = context.memory, image.original
            _check_geometry(context, image, category, published)
            steps = detector.detect(
                memory, context.features, (original.width, original.height), category, original.encoding
            )
            batch_size, parts = context.search_batch_size, list[Stage]()
            detection = yield from _timed(steps, batch_size, parts)
            ended = time.monotonic()
            profile = published.profiles.get(detection.category, Profile())
            return TimedDetection(
                detection,
                queue_seconds=context.queue_seconds,
                encode_seconds=context.encode_seconds,
                search_seconds=(ended - started) / batch_size,
                stages=(*context.stages, Stage("search", started, ended, batch_size), *parts),
                notices=notices_of_part(image, profile, detection.scored.frame, detection.criteria.judged),
            )

        return run

    def comparison(
        self, image: DecodedImage, category: str, own: Detection, published: PublishedState
    ) -> Callable[[JobContext], SearchCoroutine[AlternativeCategory | None]]:
        """The job that compares an image, prepared for another category, with that one: see `Detector.compare`."""
        detector = Detector(self.engine, lambda name, encoding: self.criteria(name, encoding, published))

        def run(context: JobContext) -> SearchCoroutine[AlternativeCategory | None]:
            _check_geometry(context, image, category, published)
            return (
                yield from detector.compare(
                    context.memory, context.features, category, own.scored, own.criteria.scoring
                )
            )

        return run


def _timed(steps: SearchCoroutine[T], batch_size: int, stages: list[Stage]) -> SearchCoroutine[T]:
    """The same steps, and as stages what came before the patch searches, these, and what came after.

    batch_size: images that are searched at once.
    """
    name, begun = "retrieve", time.monotonic()
    try:
        query = next(steps)
        while True:
            submitted = time.monotonic()
            stages.append(Stage(name, begun, submitted, batch_size))
            matches = yield query
            name, begun = "score", time.monotonic()
            stages.append(Stage("patches", submitted, begun, batch_size))
            query = steps.send(matches)
    except StopIteration as end:
        stages.append(Stage(name, begun, time.monotonic(), batch_size))
        result: T = end.value
        return result


def recognise(context: JobContext) -> SearchCoroutine[str]:
    """The job that tells which category an image is most like. NoReferencesError."""
    category = context.memory.nearest_category(context.features.global_descriptors[0].to("cpu").numpy())
    if category is None:
        raise NoReferencesError("the memory is empty")
    yield from ()
    return category


def _check_geometry(context: JobContext, image: DecodedImage, category: str | None, published: PublishedState) -> None:
    """Raise GeometryInactive when the image was prepared for another geometry than the snapshot's references have."""
    memory = context.memory
    if memory is published.memory or memory.geometries == published.memory.geometries:
        return
    if category is None:
        category = memory.nearest_category(context.features.global_descriptors[0].to("cpu").numpy())
    if memory.geometry_of(category) != image.prepared.placement.geometry:
        raise GeometryInactive("the category has another geometry since the image was prepared")
