"""Runs variants over a data set: every sample is decoded and encoded once, judged by each search, and counted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from indexer.calibration.calibration import with_calibrated_weights
from indexer.calibration.leave_one_out import calibrate
from indexer.detection.detector import Criteria, Detection, Detector
from indexer.domain.encoding import Encoding
from indexer.domain.geometry import InputGeometry
from indexer.domain.verdict import DecisionSettings
from indexer.encoders import Features, FeatureSpace
from indexer.evaluation.dataset import Dataset, DatasetError, Sample
from indexer.evaluation.encoding import ImageEncoding, ImageGroup
from indexer.evaluation.features import Progress
from indexer.evaluation.masks import read_mask
from indexer.evaluation.metrics import Figures, mean, measure
from indexer.evaluation.protocols import Search, Variant
from indexer.evaluation.tally import PixelTally
from indexer.imaging.decode import ImageRejected
from indexer.memory import MemoryBank
from indexer.search import PatchSearchEngine, run_batched

EXACT_PIXELS = 1 << 24  # scores kept unbinned at once, over all searches: 256 maps
_POOLED = ""  # the category of all references, where a search makes no difference between them
_REVISION = 3  # of what a stored outcome means: raise it when scoring or figures change


@dataclass(frozen=True)
class CategoryOutcome:
    """One category judged by one search, its samples in the data set's order.

    scores: of each. nearest: the category of the most similar reference among those that were searched for each.
    lost_masks: the masks of which nothing is left in the map's frame, being empty or cut off.
    """

    figures: Figures
    scores: tuple[float, ...]
    nearest: tuple[str, ...]
    lost_masks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A variant's outcome. references: how many it searched. categories: by name, those it judges."""

    variant: Variant
    references: int
    categories: Mapping[str, CategoryOutcome]

    @property
    def mean(self) -> Figures:
        """Means over the categories."""
        return mean([category.figures for category in self.categories.values()])


@dataclass(frozen=True)
class Subject:
    """What is evaluated: the encoder's memory of a data set's references. digests: sha256 of every reference."""

    dataset: Dataset
    encoding: ImageEncoding
    engine: PatchSearchEngine
    memory: MemoryBank
    digests: tuple[str, ...]

    def geometry_of(self, samples: Sequence[Sample]) -> InputGeometry:
        """How the samples of one category, at least one, are inspected."""
        return self.memory.geometry_of(samples[0].category)

    @property
    def space(self) -> FeatureSpace:
        """The encoder's feature space."""
        return self.encoding.space

    def images_of(self, samples: Sequence[Sample]) -> ImageGroup:
        """The samples of one category, at least one, to be encoded."""
        return ImageGroup(tuple(sample.path for sample in samples), self.geometry_of(samples))


def evaluate(subject: Subject, variants: Sequence[Variant], folder: Path, progress: Progress) -> list[Outcome]:
    """Judge every sample by every variant, in the variants' order.

    folder: where a category's outcome is kept as soon as it is known; what is there for the same images, encoder and
    search is not computed again. progress: told of samples done. DatasetError for an image that cannot be used.
    """
    outcomes: dict[tuple[Search, str], CategoryOutcome] = {}
    categories = [_category_work(subject, variants, name, folder) for name in subject.dataset.categories]
    features = subject.encoding.features(
        subject.images_of(category.samples) for category in categories if category.waiting and category.samples
    )
    for category in categories:
        outcomes |= {(search, category.name): outcome for search, outcome in category.known.items()}
        if category.waiting:
            judged = _judge(subject, category.waiting, category.samples, features, progress)
            for search, outcome in zip(category.waiting, judged, strict=True):
                category.cache.write(search, outcome)
                outcomes[search, category.name] = outcome
        else:
            progress(len(category.samples))
    return [
        Outcome(
            variant,
            len(subject.memory) if variant.search.references is None else len(variant.search.references),
            {name: outcomes[variant.search, name] for name in subject.dataset.categories if variant.judges(name)},
        )
        for variant in variants
    ]


@dataclass(frozen=True)
class _CategoryWork:
    """A category before it is judged. known: outcomes of earlier runs. waiting: the other searches."""

    name: str
    samples: Sequence[Sample]
    cache: _OutcomeCache
    known: Mapping[Search, CategoryOutcome]
    waiting: Sequence[Search]


def _category_work(subject: Subject, variants: Sequence[Variant], name: str, folder: Path) -> _CategoryWork:
    searches = dict.fromkeys(candidate.search for candidate in variants if candidate.judges(name))
    samples = [sample for sample in subject.dataset.samples if sample.category == name]
    cache = _OutcomeCache(folder, _images_key(subject, samples))
    known = {search: outcome for search in searches if (outcome := cache.read(search)) is not None}
    return _CategoryWork(name, samples, cache, known, [search for search in searches if search not in known])


def _judge(
    subject: Subject,
    searches: Sequence[Search],
    samples: Sequence[Sample],
    features: Iterator[Features],
    progress: Progress,
) -> list[CategoryOutcome]:
    """One category's samples judged by every search. features: those of the samples come next."""
    reports = [PixelTally(EXACT_PIXELS // len(searches)) for _ in searches]
    scores = np.empty((len(searches), len(samples)))
    nearest: list[list[str]] = [[] for _ in searches]
    lost: list[str] = []
    for number, (sample, detections) in enumerate(
        zip(samples, detect_samples(subject, searches, samples, features), strict=True)
    ):
        mask = _mask(subject, sample) if sample.pixels_known else None
        if sample.mask is not None and mask is not None and not mask.any():
            lost.append(str(sample.mask.relative_to(subject.dataset.folder)))
        for index, detection in enumerate(detections):
            scores[index, number] = detection.measures.score
            nearest[index].append(subject.dataset.references[detection.references[0].reference_id].category)
            if mask is not None:
                reports[index].add(detection.map, mask)
        progress(1)
    defective = np.array([sample.defective for sample in samples])
    return [
        CategoryOutcome(
            figures=measure(scores[index], defective, reports[index].counts()),
            scores=tuple(map(float, scores[index])),
            nearest=tuple(nearest[index]),
            lost_masks=tuple(lost),
        )
        for index in range(len(searches))
    ]


def detect_samples(
    subject: Subject, searches: Sequence[Search], samples: Sequence[Sample], features: Iterator[Features]
) -> Iterator[tuple[Detection, ...]]:
    """Each sample held against the references by every search, in order. DatasetError for one that cannot be used.

    features: batches of which the first are the samples', one geometry's; those after them are left to the caller.
    What the samples of a batch ask is searched together: snapshots with fewer references share their codes with the
    whole memory, so that one search serves them all.
    """
    memories = [_searched(subject.memory, search) for search in searches]
    detectors = [
        Detector(subject.engine, _SearchCriteria(memory, subject.engine, search).of)
        for memory, search in zip(memories, searches, strict=True)
    ]
    done = 0
    while done < len(samples):
        batch = next(features)
        resized = subject.geometry_of(samples).resized
        coroutines = [
            detector.detect(memory, batch.item(index), resized, _category(search, sample))
            for index, sample in enumerate(samples[done : done + len(batch)])
            for detector, memory, search in zip(detectors, memories, searches, strict=True)
        ]
        results = iter(run_batched(subject.engine, subject.memory, coroutines))
        for _ in range(len(batch)):
            yield tuple(map(_detected, islice(results, len(searches))))
        done += len(batch)


class _SearchCriteria:
    """What samples are judged by in one search: its scoring, and a calibration where layers weigh as references say."""

    def __init__(self, memory: MemoryBank, engine: PatchSearchEngine, search: Search) -> None:
        self._memory, self._engine, self._search = memory, engine, search
        self._known: dict[str, Criteria] = {}

    def of(self, category: str, _: Encoding | None) -> Criteria:
        """Of one category; data sets are stored alike."""
        if category not in self._known:
            scoring, calibration = self._search.scoring_of(category), None
            if self._search.balance:
                calibration = calibrate(self._memory, self._engine, category, scoring, balance=True)
            self._known[category] = Criteria(
                with_calibrated_weights(scoring, calibration), DecisionSettings(), calibration
            )
        return self._known[category]


def _detected(result: Detection | Exception) -> Detection:
    if isinstance(result, Exception):
        raise result
    return result


def _category(search: Search, sample: Sample) -> str | None:
    """The category that a sample is searched in; None recognises it."""
    return {"all": _POOLED, "own": sample.category, "recognised": None}[search.among]


def _searched(memory: MemoryBank, search: Search) -> MemoryBank:
    """The snapshot that a search looks at."""
    if search.references is not None:
        left_out = np.setdiff1d(memory.ids, np.asarray(search.references))
        memory = memory.without_references(left_out.tolist(), memory.version)
    return memory.pooled(_POOLED) if search.among == "all" else memory


def _mask(subject: Subject, sample: Sample) -> np.typing.NDArray[np.bool_]:
    try:
        return read_mask(sample, subject.memory.frame(sample.category))
    except ImageRejected as refused:
        raise DatasetError(f"{sample.mask}: {refused.detail}") from refused


def _images_key(subject: Subject, samples: Sequence[Sample]) -> str:
    """Names everything but the search that an outcome depends on."""
    digest = hashlib.sha256(f"{_REVISION} {subject.space.fingerprint} {subject.memory.codec.name}".encode())
    if samples and subject.geometry_of(samples) != subject.space.global_geometry:
        digest.update(subject.geometry_of(samples).to_json().encode())
    for reference, sha256 in zip(subject.dataset.references, subject.digests, strict=True):
        digest.update(os.fsencode(f"{reference.category} {sha256}\n"))
    for sample in samples:
        for path in (sample.path, sample.mask):
            stat = path.stat() if path is not None else None
            digest.update(os.fsencode(f"{sample.kind} {path} {stat and (stat.st_size, stat.st_mtime_ns)}\n"))
    return digest.hexdigest()


class _OutcomeCache:
    """Outcomes on the disk, a file each, named by what they depend on."""

    def __init__(self, folder: Path, base: str) -> None:
        self._folder = folder
        self._base = base
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, search: Search) -> CategoryOutcome | None:
        """The outcome of a search, if it was kept whole."""
        try:
            stored = json.loads(self._path(search).read_text(encoding="utf-8"))
            return CategoryOutcome(
                Figures(**stored["figures"]), *(tuple(stored[name]) for name in ("scores", "nearest", "lost_masks"))
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, search: Search, outcome: CategoryOutcome) -> None:
        """Keep an outcome, whole or not at all."""
        path = self._path(search)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        temporary.replace(path)

    def _path(self, search: Search) -> Path:
        name = hashlib.sha256(f"{self._base} {search}".encode()).hexdigest()
        return self._folder / f"{name[:32]}.json"
