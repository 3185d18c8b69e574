"""Detects anomalies in one encoded image: score, verdict, regions, evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.adaptation import Adaptation
from indexer.calibration.calibration import Calibration, weighed
from indexer.detection.decision import decide
from indexer.detection.nearest_patch import Evidence, explain
from indexer.detection.regions import Region, find_regions
from indexer.domain.category import CategorySettings
from indexer.domain.notice import Notice
from indexer.domain.profile import Judged, Profile
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.verdict import Decision
from indexer.encoders import FeatureSpace
from indexer.references.snapshot_loader import PublishedState
from indexer.scoring.image_statistics import Measures, mean_distance
from indexer.scoring.scoring import NoReferences, Scored, scoring
from indexer.search import PatchSearchEngine, SearchCoroutine
from service.background.adaptations import Adaptations
from service.background.calibration_manager import CalibrationManager
from service.inference.decoder import DecodedImage
from service.inference.image_reading import notices_of_part
from service.inference.worker import JobContext
from service.observability.tracing import Stage

_TOP_REFERENCES = 5


@dataclass(frozen=True)
class RetrievedReference:
    """One of the most similar references."""

    reference_id: int
    category: str
    similarity: float


@dataclass(frozen=True)
class AlternativeCategory:
    """Another category that an image fits better than the one that was asked for.

    similarity: of its most similar reference; own_similarity: of the asked category's. mean_distance,
    own_mean_distance: of the patches to either. score, p_value: as if that category had been asked for.
    """

    category: str
    similarity: float
    own_similarity: float
    mean_distance: float
    own_mean_distance: float
    score: float
    p_value: float | None


@dataclass(frozen=True)
class Detection:
    """What was found out about one image. map: float32 (256, 256). Times in seconds.

    stages: when it waited, was encoded and was searched for. notices: what people should know of how it was read.
    """

    category: str
    decision: Decision
    measures: Measures
    calibration: Calibration | None
    version: int
    map: NDArray[np.float32]
    regions: tuple[tuple[Region, Evidence], ...]
    references: tuple[RetrievedReference, ...]
    better_category: AlternativeCategory | None
    queue_seconds: float
    encode_seconds: float
    search_seconds: float
    stages: tuple[Stage, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class Detector:
    """Inspects images on the worker thread."""

    engine: PatchSearchEngine
    calibrations: CalibrationManager
    adaptations: Adaptations

    def detect(
        self, turn: JobContext, image: DecodedImage, category: str | None, published: PublishedState
    ) -> SearchCoroutine[Detection]:
        """Score one image against the turn's snapshot and decide on it.

        category: whose references to search; None recognises it by the most similar reference of all. What is searched
        is what the threshold was calibrated on. published: settings, and how references were stored. NoReferences.
        """
        started = time.monotonic()
        memory, settings = turn.memory, published.settings
        descriptor = turn.features.global_descriptors[0].to("cpu").numpy()
        likeliest = memory.nearest_category(descriptor)
        if likeliest is None:
            raise NoReferences("the memory is empty")
        applied = likeliest if category is None else category
        chosen = settings.get(applied, CategorySettings())
        profile = published.profiles.get(applied, Profile())
        calibration, adaptation, judged = self._held_against(applied, image, profile)
        as_calibrated = weighed(chosen.scoring, calibration or self.calibrations.of(applied))
        found = yield from scoring(memory, self.engine, turn.features, as_calibrated, applied)
        scored = found if adaptation is None else adaptation.applied(found, memory.space, as_calibrated)
        measures = Measures.of(scored, turn.features, memory.space, as_calibrated)
        decision = decide(measures, calibration, chosen.limits)
        better = None
        if likeliest != applied:
            better = yield from self._alternative_category(
                turn, likeliest, settings.get(likeliest, CategorySettings()).scoring, found, as_calibrated
            )
        original = image.original
        regions = _anomalous_regions(decision, scored.map, memory.space, (original.width, original.height))
        explained = tuple(
            (region, explain(memory, turn.features, scored, region.peak_cell, as_calibrated)) for region in regions
        )
        rows = scored.neighbours.rows
        ended = time.monotonic()
        return Detection(
            category=applied,
            decision=decision,
            measures=measures,
            calibration=calibration,
            version=memory.version,
            map=scored.map,
            regions=explained,
            references=tuple(
                RetrievedReference(int(memory.ids[row]), memory.category_of(int(row)), float(similarity))
                for row, similarity in zip(rows[:_TOP_REFERENCES], scored.neighbours.similarities, strict=False)
            ),
            better_category=better,
            queue_seconds=turn.queue_seconds,
            encode_seconds=turn.encode_seconds,
            search_seconds=(ended - started) / turn.search_batch_size,
            stages=(*turn.stages, Stage("search", started, ended)),
            notices=notices_of_part(image, profile, memory.space.geometry.unseen, judged),
        )

    def _held_against(
        self, category: str, image: DecodedImage, profile: Profile
    ) -> tuple[Calibration | None, Adaptation | None, Judged]:
        """The calibration that an image is held against, how its distances are adapted to that, and of what kind."""
        encoding = image.original.encoding
        if encoding is None or not profile.is_finer_than(encoding):
            return self.calibrations.of(category), None, "own"
        adaptation = self.adaptations.of(category, encoding)
        if adaptation == "waiting":
            return None, None, "waiting"
        if adaptation == "impossible":
            return self.calibrations.of(category), None, "own"
        return adaptation.calibration, adaptation, "adapted"

    def _alternative_category(
        self, turn: JobContext, category: str, settings: ScoringSettings, own: Scored, own_settings: ScoringSettings
    ) -> SearchCoroutine[AlternativeCategory | None]:
        """The category of the most similar reference of all, if the patches agree. Costs a second patch search.

        Both are compared in the cells, and by the layers, of the category that was asked for.
        """
        calibration = self.calibrations.of(category)
        scored = yield from scoring(turn.memory, self.engine, turn.features, weighed(settings, calibration), category)
        there, here = (mean_distance(each.distances, turn.memory.space, own_settings) for each in (scored, own))
        if there >= here:
            return None
        p_value = calibration.scores.p_value(scored.score) if calibration is not None and len(calibration) else None
        similarity, own_similarity = (float(each.neighbours.similarities[0]) for each in (scored, own))
        return AlternativeCategory(category, similarity, own_similarity, there, here, scored.score, p_value)


def _anomalous_regions(
    decision: Decision, anomaly_map: NDArray[np.float32], space: FeatureSpace, size: tuple[int, int]
) -> tuple[Region, ...]:
    """The map above the level that good parts' maps stay under; an image of another verdict has no regions.

    A faint defect can raise the score, a mean over 1 % of the map, above its threshold without any pixel beyond that
    level: then the threshold is the level, which the largest pixels are above.
    """
    if decision.verdict != "anomalous" or decision.threshold is None:
        return ()
    level = decision.region_level
    if level is None or anomaly_map.max() < level:
        level = decision.threshold
    return find_regions(anomaly_map, level, space, size)
