"""Detects anomalies in one encoded image: features in, Detection out; the one path of service and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.adaptation import Adaptation
from indexer.calibration.calibration import Calibration, with_calibrated_weights
from indexer.detection.decision import decide
from indexer.detection.nearest_patch import NearestPatch, explain_region
from indexer.detection.regions import find_regions
from indexer.domain.category import CategorySettings
from indexer.domain.encoding import Encoding
from indexer.domain.errors import NoReferencesError
from indexer.domain.geometry import Size
from indexer.domain.profile import CalibrationKind
from indexer.domain.region import Region
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.verdict import Decision, DecisionSettings
from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics, from_distances, mean_distance
from indexer.scoring.scoring import ScoringResult, score_steps
from indexer.search import PatchSearchEngine, SearchCoroutine, run_batched

_TOP_REFERENCES = 5


@dataclass(frozen=True)
class Criteria:
    """Settings and calibration that images of one category are judged by.

    scoring: with the calibration's layer weights. calibration: None while there is none for images with this encoding.
    adaptation: scales the image's distances to that calibration. review_band: see `CategorySettings`.
    """

    scoring: ScoringSettings
    limits: DecisionSettings
    calibration: Calibration | None
    adaptation: Adaptation | None = None
    judged: CalibrationKind = "own"
    review_band: float = 0.0

    @classmethod
    def of(cls, settings: CategorySettings, calibration: Calibration | None) -> Criteria:
        """From a category's settings and its own calibration."""
        scoring = with_calibrated_weights(settings.scoring, calibration)
        return cls(scoring, settings.decision, calibration, review_band=settings.review_band)


@dataclass(frozen=True)
class JudgedImage:
    """The result of scoring one image against the references of one category."""

    scored: ScoringResult
    measures: ImageStatistics
    decision: Decision

    def rejudged(self, features: Features, criteria: Criteria) -> JudgedImage:
        """The judgement by other criteria with the same K and ρ, which needs no search."""
        nearest = float(self.scored.neighbours.similarities[0])
        statistics = from_distances(self.scored.distances, nearest, features, self.scored.frame, criteria.scoring)
        return JudgedImage(self.scored, statistics, decide(statistics, criteria.calibration, criteria.limits))


@dataclass(frozen=True)
class RetrievedReference:
    """One of the most similar references."""

    reference_id: int
    category: str
    similarity: float


@dataclass(frozen=True)
class AlternativeCategory:
    """Another category that matches an image better than the requested one.

    similarity: of its most similar reference; own_similarity: of the requested category's. mean_distance,
    own_mean_distance: of the patches to either. score, p_value: with that category.
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
    """The complete result for one image.

    version: of the snapshot it was compared with. references: the retrieved ones, most similar first.
    alternative_category: another category that matches better than the requested one. unsearched_category: the one of
    the most similar reference where its geometry is another, so that the image has to be encoded again to be compared.
    """

    category: str
    criteria: Criteria
    version: int
    scored: ScoringResult
    measures: ImageStatistics
    decision: Decision
    regions: tuple[tuple[Region, NearestPatch], ...]
    references: tuple[RetrievedReference, ...]
    alternative_category: AlternativeCategory | None
    unsearched_category: str | None = None

    @property
    def map(self) -> NDArray[np.float32]:
        """The anomaly map, float32 (rows, columns), 0 to 2; as fine as `Frame.map_shape` says."""
        return self.scored.map


@dataclass(frozen=True)
class Detector:
    """Detects anomalies by the criteria of categories.

    criteria: of a category, for images that are stored as the encoding says; None: stored like its references.
    """

    engine: PatchSearchEngine
    criteria: Callable[[str, Encoding | None], Criteria]

    def detect(
        self,
        memory: MemoryBank,
        features: Features,
        size: tuple[int, int],
        category: str | None = None,
        encoding: Encoding | None = None,
    ) -> SearchCoroutine[Detection]:
        """Score one image against a snapshot and decide the verdict, as a coroutine: the patch searches of several
        images are batched.

        features: of the image, a batch of one. size: (width, height) of the image, in whose pixels regions are given.
        category: whose references to search; None recognises it by the most similar reference of all. encoding: how
        the image is stored. NoReferencesError; OtherProportions when the category refuses the image for them.
        """
        likeliest = memory.nearest_category(features.global_descriptors[0].to("cpu").numpy())
        if likeliest is None:
            raise NoReferencesError("the memory is empty")
        applied = likeliest if category is None else category
        criteria = self.criteria(applied, encoding)
        frame = memory.frame(applied, size)
        result = yield from score_steps(memory, self.engine, features, criteria.scoring, applied, frame=frame)
        judged = _judged(result, features, criteria)
        scored, decision = judged.scored, judged.decision
        better, unsearched = None, None
        if likeliest != applied:
            if memory.frame(likeliest).grid == frame.grid:
                better = yield from self.compare(memory, features, likeliest, result, criteria.scoring)
            elif decision.verdict != "normal":
                unsearched = likeliest
        return Detection(
            category=applied,
            criteria=criteria,
            version=memory.version,
            scored=scored,
            measures=judged.measures,
            decision=decision,
            regions=tuple(
                (region, explain_region(memory, features, scored, region.peak_cell, criteria.scoring))
                for region in _anomalous_regions(decision, scored)
            ),
            references=tuple(
                RetrievedReference(int(memory.ids[row]), memory.category_of(int(row)), float(similarity))
                for row, similarity in zip(
                    scored.neighbours.rows[:_TOP_REFERENCES], scored.neighbours.similarities, strict=False
                )
            ),
            alternative_category=better,
            unsearched_category=unsearched,
        )

    def compare(
        self, memory: MemoryBank, features: Features, category: str, own: ScoringResult, own_settings: ScoringSettings
    ) -> SearchCoroutine[AlternativeCategory | None]:
        """The category of the most similar reference of all, if the patches agree. Costs a second patch search.

        features: of the image as that category's geometry has it. own: the result with the requested category. On the
        same grid both are compared on the cells and with the layer weights of the requested category, on another grid
        each by its own. OtherProportions when the category refuses the image for them.
        """
        criteria = self.criteria(category, None)
        same_grid = features.grid == own.frame.grid
        if same_grid:
            placed = own.frame if memory.geometry_of(category) == own.frame.geometry else None
        else:
            placed = memory.frame(category, own.frame.placement.image_size)
        scored = yield from score_steps(memory, self.engine, features, criteria.scoring, category, frame=placed)
        own_distance = mean_distance(own.distances, own.frame, own_settings)
        frame, settings = (own.frame, own_settings) if same_grid else (scored.frame, criteria.scoring)
        other_distance = mean_distance(scored.distances, frame, settings)
        if other_distance >= own_distance:
            return None
        calibration = criteria.calibration
        p_value = calibration.scores.p_value(scored.score) if calibration is not None and len(calibration) else None
        similarity, own_similarity = (float(result.neighbours.similarities[0]) for result in (scored, own))
        return AlternativeCategory(
            category, similarity, own_similarity, other_distance, own_distance, scored.score, p_value
        )


def judge(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    features: Features,
    category: str,
    criteria: Criteria,
    exclude_rows: Sequence[int] = (),
    image_size: Size | None = None,
) -> JudgedImage:
    """Judge one image of a known category as `Detector.detect` does, in one call. NoReferencesError, NothingInspected.

    exclude_rows: rows of the memory that are left out. image_size: (width, height) of the image, which may have other
    proportions than its category; None for one that fits.
    """
    frame = memory.frame(category, image_size)
    steps = score_steps(memory, engine, features, criteria.scoring, category, exclude_rows, frame)
    [result] = run_batched(engine, memory, [steps])
    if isinstance(result, Exception):
        raise result
    return _judged(result, features, criteria)


def _judged(result: ScoringResult, features: Features, criteria: Criteria) -> JudgedImage:
    adaptation = criteria.adaptation
    scored = result if adaptation is None else adaptation.apply(result, criteria.scoring)
    statistics = ImageStatistics.from_scoring(scored, features, criteria.scoring)
    return JudgedImage(scored, statistics, decide(statistics, criteria.calibration, criteria.limits))


def _anomalous_regions(decision: Decision, scored: ScoringResult) -> tuple[Region, ...]:
    """Regions of the map above the region threshold, below which maps of good parts stay; only of an anomalous image.

    A faint defect can raise the score, a mean over 1 % of the map, above its threshold although no pixel exceeds the
    region threshold: then the score's threshold is used, which the largest pixels exceed.
    """
    if decision.verdict != "anomalous" or decision.threshold is None:
        return ()
    threshold = decision.region_threshold
    if threshold is None or float(scored.map.max()) <= threshold:
        threshold = decision.threshold
    return find_regions(scored.map, threshold, scored.frame)
