"""Tries other settings on labelled test sets when somebody asks for it, behind all other work."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial

import numpy as np
from numpy.typing import NDArray

from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound, ImageNotEncodable, NothingInspected, OtherProportions
from indexer.domain.json_types import JsonObject
from indexer.domain.labelled_set import LabelledImage
from indexer.domain.tuning import Tuning, TuningResult
from indexer.encoders.encode_images import encode_images
from indexer.imaging.roi import roi_cells
from indexer.references.snapshot_loader import PublishedState
from indexer.tuning.candidates import score_candidates
from indexer.tuning.cross_validation import cross_validate, too_few
from service.background.calibration_manager import CalibrationManager
from service.background.criteria import CurrentCriteria
from service.background.geometry_trials import Check, GeometryTrial, GeometryTrials
from service.background.labelled_images import LabelledImageReader, UnusableImage
from service.background.supervisor import for_each
from service.background.worker_steps import run_steps
from service.inference.resources import InferenceResources

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
        self, resources: InferenceResources, calibrations: CalibrationManager, criteria: CurrentCriteria
    ) -> None:
        self._worker = resources.worker
        self._encoder = resources.encoder
        self._engine = resources.engine
        self._reference_store = resources.reference_store
        self._calibrations = calibrations
        self._criteria = criteria
        self._reader = LabelledImageReader(resources)
        self._geometries = GeometryTrials(resources)
        self._tunings = resources.reference_store.catalogue.tunings

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: work on every tuning that was requested."""
        if self._reference_store.published.superseded_by is None:
            for_each(lambda tuning: self._tune(tuning, stopping), self._tunings.unfinished(), stopping)

    def _tune(self, tuning: Tuning, stopping: threading.Event) -> None:
        category, published, sets = (
            tuning.category,
            self._reference_store.published,
            self._reference_store.catalogue.labelled_sets,
        )
        try:
            images = sets.images(category)
            key = tuning_key(self._calibrations, published, category, images)
            searched = self._calibrations.searches(category)
            if key is None or searched is None:
                return  # it is not calibrated: another round
            trials = [self._geometries.present(published, category, searched)]
            settings = {**asdict(published.settings[category]), "geometry": {"cells": trials[0].cells}}

            def check(done: int = 0) -> None:
                now = tuning_key(self._calibrations, self._reference_store.published, category, sets.images(category))
                if now != key:
                    raise _Outdated
                if stopping.is_set() or not self._tunings.progress(tuning.id, key, settings, done, len(images)):
                    raise _Ended

            for cells, geometry in self._geometries.others(published, category, len(images)).items():
                trial = self._geometries.encode(published, category, cells, geometry, check)
                trials += [] if trial is None else [trial]
            scores, usable = [], []
            for done, image in enumerate(images):
                check(done)
                with suppress(UnusableImage):
                    by_trial = [self._score(image, published, trial, partial(check, done)) for trial in trials]
                    scores.append(np.concatenate(by_trial))
                    usable.append(image.defective)
            check(len(images))
            candidates = [changes for trial in trials for changes in trial.candidates]
            self._conclude(tuning, candidates, scores, usable, len(images))
        except _Outdated:
            self._tunings.fail(tuning.id, "References, settings or test images have changed meanwhile: start it again.")
        except (CategoryNotFound, _Ended):
            return

    def _conclude(
        self,
        tuning: Tuning,
        candidates: Sequence[JsonObject],
        scores: Sequence[NDArray[np.float32]],
        usable: Sequence[bool],
        images: int,
    ) -> None:
        defective = np.array(usable, np.bool_)
        good, bad = int(np.count_nonzero(~defective)), int(np.count_nonzero(defective))
        if (reason := too_few(good, bad)) is not None:
            self._tunings.fail(tuning.id, reason)
            return
        # Of candidates that separate alike the one that changes least is chosen; another geometry changes most.
        order = sorted(
            range(len(candidates)), key=lambda index: ("geometry" in candidates[index], len(candidates[index]))
        )
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
            candidates[order[choice.best]],
        )
        self._tunings.finish(tuning.id, result)

    def _score(
        self, image: LabelledImage, published: PublishedState, trial: GeometryTrial, check: Check
    ) -> NDArray[np.float32]:
        """One image's score by every candidate of a trial. UnusableImage."""
        memory, category = trial.memory, image.category
        stored, prepared = self._reader.read(image, published, trial.geometry)
        while (criteria := self._criteria.of(category, stored.encoding, published)).judged == "waiting":
            check()
            time.sleep(_WAIT_SECONDS)
        scale = None if criteria.adaptation is None else criteria.adaptation.scale
        if scale is not None and trial.changes:  # it is of the present cells: of others there is one for each layer
            scale = scale.mean(axis=1, keepdims=True)
        settings = criteria.scoring
        try:
            [features] = self._worker.submit_calibration(lambda _: encode_images(self._encoder, [prepared])).result()
            frame = memory.frame(category, (image.width, image.height))
            roi_cells(settings.region, frame)
        except (ImageNotEncodable, OtherProportions, NothingInspected) as error:
            raise UnusableImage(str(error)) from error
        steps = score_candidates(memory, self._engine, features, category, frame, settings, trial.grid, scale)
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
