"""Tries other settings on labelled test sets when somebody asks for it, behind all other work."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound, OtherProportions
from indexer.domain.labelled_set import LabelledImage
from indexer.domain.tuning import Tuning, TuningResult
from indexer.encoders import Encoder
from indexer.encoders.encode_images import encode_images
from indexer.imaging.decode import ImageLimits
from indexer.references.reference_store import ReferenceStore
from indexer.references.snapshot_loader import PublishedState
from indexer.search import PatchSearchEngine
from indexer.tuning.candidates import CandidateGrid, score_candidates
from indexer.tuning.cross_validation import cross_validate, too_few
from service.background.calibration_manager import CalibrationManager
from service.background.criteria import CurrentCriteria
from service.background.labelled_images import LabelledImageReader, UnusableImage
from service.background.supervisor import for_each
from service.background.worker_steps import run_steps
from service.inference.decoder import Preprocess
from service.inference.worker import InferenceWorker

_WAIT_SECONDS = 0.5  # between looks at whether a calibration that is being made is there


class _Ended(Exception):
    """The tuning was cancelled, or the service stops."""


class _Outdated(Exception):
    """References, settings or test images have changed since it began."""


class SettingsTuner:
    """The task. An image is decoded on its own thread, encoded once, and scored by every candidate.

    Only scores are held, of one tuning at a time. After a restart it begins anew.
    """

    def __init__(
        self,
        worker: InferenceWorker,
        encoder: Encoder,
        engine: PatchSearchEngine,
        library: ReferenceStore,
        calibrations: CalibrationManager,
        criteria: CurrentCriteria,
        preprocess: Preprocess,
        limits: ImageLimits,
    ) -> None:
        self._worker = worker
        self._encoder = encoder
        self._engine = engine
        self._library = library
        self._calibrations = calibrations
        self._criteria = criteria
        self._reader = LabelledImageReader(library, preprocess, limits)
        self._tunings = library.catalogue.tunings

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: work on every tuning that was requested."""
        if self._library.published.superseded_by is None:
            for_each(lambda tuning: self._tune(tuning, stopping), self._tunings.unfinished(), stopping)

    def _tune(self, tuning: Tuning, stopping: threading.Event) -> None:
        category, published, sets = tuning.category, self._library.published, self._library.catalogue.labelled_sets
        try:
            images = sets.images(category)
            key = tuning_key(self._calibrations, published, category, images)
            grid = self._grid(published, category)
            if key is None or grid is None:
                return  # it is not calibrated: another round
            settings = asdict(published.settings[category])

            def check(done: int) -> None:
                now = tuning_key(self._calibrations, self._library.published, category, sets.images(category))
                if now != key:
                    raise _Outdated
                if stopping.is_set() or not self._tunings.progress(tuning.id, key, settings, done, len(images)):
                    raise _Ended

            scores, usable = [], []
            for done, image in enumerate(images):
                check(done)
                with suppress(UnusableImage):
                    scores.append(self._score(image, published, grid, partial(check, done)))
                    usable.append(image.defective)
            check(len(images))
            self._conclude(tuning, grid, scores, usable, len(images))
        except _Outdated:
            self._tunings.fail(tuning.id, "References, settings or test images have changed meanwhile: start it again.")
        except (CategoryNotFound, _Ended):
            return

    def _conclude(
        self,
        tuning: Tuning,
        grid: CandidateGrid,
        scores: Sequence[NDArray[np.float32]],
        usable: Sequence[bool],
        images: int,
    ) -> None:
        defective = np.array(usable, np.bool_)
        good, bad = int(np.count_nonzero(~defective)), int(np.count_nonzero(defective))
        if (reason := too_few(good, bad)) is not None:
            self._tunings.fail(tuning.id, reason)
            return
        candidates = grid.candidates
        order = sorted(range(len(candidates)), key=lambda index: len(candidates[index].changes))
        steps = cross_validate(np.stack(scores, axis=1)[order], defective)
        choice = run_steps(self._worker, steps)
        result = TuningResult(
            good,
            bad,
            images - len(usable),
            len(candidates),
            choice.auroc,
            choice.gain,
            choice.low,
            choice.high,
            choice.agreement,
            candidates[order[choice.best]].changes,
        )
        self._tunings.finish(tuning.id, result)

    def _grid(self, published: PublishedState, category: str) -> CandidateGrid | None:
        """What is tried; None while nobody knows which layer weights the references say."""
        searches = self._calibrations.searches(category)
        if searches is None:
            return None
        memory, scoring = published.memory, published.settings[category].scoring
        balanced = searches.balance_layers(memory.frame(category), replace(scoring, layer_weights=None)).layer_weights
        layers = len(memory.space.layers)
        return CandidateGrid.around(scoring, balanced or (1.0,) * layers, len(memory.rows_of(category)))

    def _score(
        self, image: LabelledImage, published: PublishedState, grid: CandidateGrid, check: Callable[[], None]
    ) -> NDArray[np.float32]:
        """One image's score by every candidate. UnusableImage."""
        memory, category = published.memory, image.category
        stored, prepared = self._reader.read(image, published)
        while (criteria := self._criteria.of(category, stored.encoding, published)).judged == "waiting":
            check()
            time.sleep(_WAIT_SECONDS)
        scale = None if criteria.adaptation is None else criteria.adaptation.scale
        [features] = self._worker.submit_calibration(lambda _: encode_images(self._encoder, [prepared])).result()
        try:
            frame = memory.frame(category, (image.width, image.height))
        except OtherProportions as error:
            raise UnusableImage(str(error)) from error
        steps = score_candidates(memory, self._engine, features, category, frame, criteria.scoring, grid, scale)
        return run_steps(self._worker, steps)


def tuning_key(
    calibrations: CalibrationManager, published: PublishedState, category: str, images: Sequence[LabelledImage]
) -> str | None:
    """Names what a tuning comes out by: references, how they are encoded, settings, images; None while not settled."""
    settings = published.settings.get(category, CategorySettings())
    calibration = calibrations.of(category)
    if calibration is None or not calibrations.is_current(published.memory, category, settings.scoring):
        return None
    basis = [calibration.key, published.memory_id, [image.id for image in images]]
    return hashlib.sha256(json.dumps(basis).encode()).hexdigest()
