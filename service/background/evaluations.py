"""Evaluates labelled test sets whenever what they are judged by has changed, behind all other work."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import cv2
import numpy as np

from indexer.detection.detector import Detection, Detector
from indexer.domain.category import CategorySettings
from indexer.domain.errors import (
    CategoryNotFound,
    EvaluationNotFound,
    ImageNotEncodable,
    NoReferencesError,
    NothingInspected,
    OriginalUnreadable,
    OtherProportions,
)
from indexer.domain.labelled_set import LabelledImage, LabelledResult
from indexer.domain.region import Region
from indexer.encoders import PreparedImage
from indexer.encoders.encode_images import encode_images
from indexer.imaging.decode import ImageRejected, RawImage, read_image
from indexer.memory import MemoryBank
from indexer.references.snapshot_loader import PublishedState
from indexer.search import run_batched
from service.background.calibration_manager import CalibrationManager
from service.background.criteria import CurrentCriteria
from service.background.labelled_images import LabelledImageReader, UnusableImage
from service.background.supervisor import for_each
from service.inference.resources import InferenceResources

_UNUSABLE = (
    UnusableImage,
    OriginalUnreadable,
    ImageRejected,
    ImageNotEncodable,
    OtherProportions,
    NothingInspected,
    NoReferencesError,
)


class Evaluations:
    """The task. Images are decoded on its own thread; each is encoded and searched for as an image that comes in is.

    Results are stored, so that a restart continues where it stopped. When references, settings or images change, the
    evaluation is abandoned for a new one.
    """

    def __init__(
        self, resources: InferenceResources, calibrations: CalibrationManager, criteria: CurrentCriteria
    ) -> None:
        self._worker = resources.worker
        self._encoder = resources.encoder
        self._engine = resources.engine
        self._reference_store = resources.reference_store
        self._limits = resources.limits
        self._calibrations = calibrations
        self._criteria = criteria
        self._reader = LabelledImageReader(resources)
        self._finished: dict[str, str] = {}  # by category, the key of the evaluation that needs no other look

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: evaluate every test set that has not been, as references and settings are now."""
        if self._reference_store.published.superseded_by is not None:
            return
        sets = self._reference_store.catalogue.labelled_sets.all_images()
        for_each(lambda images: self._evaluate(images, stopping), sets, stopping)

    def _evaluate(self, images: Sequence[LabelledImage], stopping: threading.Event) -> None:
        category, published = images[0].category, self._reference_store.published
        key = self._key(category, images, published)
        if key is None or self._finished.get(category) == key:
            return  # it is not calibrated, or has no references: another round
        sets = self._reference_store.catalogue.labelled_sets
        settings = asdict(published.settings[category])
        try:
            evaluation = sets.begin(category, key, published.memory.version, settings, len(images))
            if evaluation is None:
                self._finished[category] = key
                return
            known = {image.id for image, _ in sets.results(category, evaluation.id)}
        except (CategoryNotFound, EvaluationNotFound):  # removed, or given up by another replica meanwhile
            return
        for image in images:
            if image.id in known:
                continue
            now = self._reference_store.published
            if stopping.is_set() or (now is not published and self._key(category, images, now) != key):
                return
            result = self._inspect(image, now)
            if result is None or not sets.record(evaluation.id, result):
                return  # another round
        sets.finish(evaluation.id)
        self._finished[category] = key

    def _key(self, category: str, images: Sequence[LabelledImage], published: PublishedState) -> str | None:
        """Names what an evaluation comes out by; None while that is not settled."""
        settings = published.settings.get(category, CategorySettings())
        calibration = self._calibrations.of(category)
        if calibration is None or not self._calibrations.is_current(published.memory, category, settings.scoring):
            return None
        basis = [
            calibration.key,
            published.memory_id,
            published.memory.geometry_of(category).to_json(),
            asdict(settings.decision),
            [(image.id, image.mask_sha256) for image in images],
        ]
        return hashlib.sha256(json.dumps(basis).encode()).hexdigest()

    def _inspect(self, image: LabelledImage, published: PublishedState) -> LabelledResult | None:
        """What is detected in one image; None while a calibration for images stored like it is being made."""
        failed = partial(LabelledResult, image.id, None, None, None, None)
        try:
            stored, prepared = self._reader.read(image, published)
            if self._criteria.of(image.category, stored.encoding, published).judged == "waiting":
                return None
            detection = self._detect(image, stored, prepared, published)
            regions = [region for region, _ in detection.regions]
            hit = None if image.mask_sha256 is None else self._hits(image, regions)
        except _UNUSABLE as error:
            return failed(error=str(error))
        decision = detection.decision
        return LabelledResult(
            image.id,
            detection.measures.score,
            decision.threshold,
            decision.p_value,
            decision.verdict,
            tuple({"box": region.box, "peak": region.peak} for region in regions),
            hit,
        )

    def _detect(
        self, image: LabelledImage, stored: RawImage, prepared: PreparedImage, published: PublishedState
    ) -> Detection:
        detector = Detector(self._engine, lambda name, encoding: self._criteria.of(name, encoding, published))

        def work(memory: MemoryBank) -> Detection | Exception:
            [features] = encode_images(self._encoder, [prepared])
            size = (image.width, image.height)
            steps = detector.detect(memory, features, size, image.category, stored.encoding)
            [outcome] = run_batched(self._engine, memory, [steps])
            return outcome

        outcome = self._worker.submit_calibration(work).result()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _hits(self, image: LabelledImage, regions: Sequence[Region]) -> bool:
        """Whether a region touches the mask, which is scaled to the image."""
        data = self._reference_store.read_original(image.mask_sha256 or "", image.mask_suffix or "")
        marked = (read_image(data, self._limits).levels > 0).astype(np.uint8)
        mask = cv2.resize(marked, (image.width, image.height), interpolation=cv2.INTER_NEAREST)
        drawn = np.zeros_like(mask)
        for region in regions:
            # A pixel's centre lies at a half, for OpenCV at a whole number.
            cv2.fillPoly(drawn, [np.round(np.array(region.polygon) - 0.5).astype(np.int32)], 1)
        return bool(np.logical_and(drawn, mask).any())
