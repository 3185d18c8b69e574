"""Bulk indexing: adds whole folders of images as references, resumable after a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from indexer.domain.bit_depth import BitDepth
from indexer.domain.category import CategorySettings
from indexer.domain.errors import GeometryError
from indexer.domain.finding import Finding
from indexer.domain.geometry import InputGeometry, Size
from indexer.domain.geometry_choice import GeometryChoice, GeometryPolicy
from indexer.domain.photo_quality import PhotoQuality
from indexer.domain.profile import Profile
from indexer.domain.reading import Reading
from indexer.imaging.decode import ImageLimits, ImageRejected, has_sixteen_bits, image_size, read_image
from indexer.jobs.bulk_encoding import BulkEncoding, CategoryPlan, EncodedImage
from indexer.jobs.folder_layout import CategoryFolder
from indexer.memory import EncodedReferences
from indexer.references.reference_store import ReferenceStore
from indexer.references.source_image import SourceImage
from indexer.references.stored_calibrations import stored_statistics
from indexer.screening.onboarding import KnownReferences, Onboarding, OnboardingDecision
from indexer.search import PatchSearchEngine
from indexer.search.cost import geometry_of_new

_COMMIT = 32  # images made references together: what a kill costs at most
_SAMPLED = 64  # images of a category whose values tell how many bits their files use


@dataclass(frozen=True)
class RejectedImage:
    """An image that was skipped, and why."""

    path: Path
    detail: str


@dataclass
class IndexReport:
    """What became of one category's images so far.

    findings: what screening found in images that were kept. images_until_outlier_check: how many more images it takes
    to find outliers among them; None while nothing was screened.
    """

    category: str
    added: int = 0
    duplicates: int = 0
    rejected: list[RejectedImage] = field(default_factory=list)
    findings: list[tuple[Path, Finding]] = field(default_factory=list)
    images_until_outlier_check: int | None = None


def bulk_index(
    reference_store: ReferenceStore,
    encoding: BulkEncoding,
    folders: Sequence[CategoryFolder],
    *,
    limits: ImageLimits,
    decoders: int,
    advance: Callable[[IndexReport, int], None],
    screen: PatchSearchEngine | None = None,
    depth: BitDepth | None = None,
    policy: GeometryPolicy | None = None,
    choice: GeometryChoice | None = None,
) -> tuple[IndexReport, ...]:
    """Make the images references of their categories; what is one already is neither encoded nor added again.

    encoding: what encodes them; this process alone commits. advance: told the category's report and how many more
    images are done. Every 32 images are committed together, so that a kill loses no more than those, and another run
    goes on from there. Images that cannot be used are reported and skipped. decoders: threads that look at a sample of
    each folder. screen: what to search with to hold the images of each commit against each other and against the
    references there are, as the service does; None adds them without. Findings stay with the references, and an image
    is refused for those that the category's settings name. depth: bits in use, of files that have 16 a channel; None
    for what the category has, or what the values tell. policy, choice: how new categories are inspected, and what was
    said of that; those that there are keep what they have. StorageFull and CatalogueError end it; what was committed
    stays.
    """
    reports = [IndexReport(folder.category) for folder in folders]

    def planned() -> Iterator[CategoryPlan]:
        for number, (folder, report) in enumerate(zip(folders, reports, strict=True)):
            plan = folder.misnamed or _plan(reference_store, number, folder, limits, decoders, depth, policy, choice)
            if isinstance(plan, str):
                report.rejected = [RejectedImage(path, plan) for path in folder.paths]
                advance(report, len(folder.paths))
            else:
                yield plan

    for plan, batches in groupby(encoding.encode(planned(), reference_store), key=lambda batch: batch.plan):
        report = reports[plan.number]
        screened = None if screen is None else _Screener(reference_store, screen, plan.category, plan.geometry)
        waiting: list[EncodedImage] = []
        for batch in batches:
            for path, image in batch.images:
                if isinstance(image, EncodedImage):
                    waiting.append(image)
                else:
                    _note(report, path, image)
            if len(waiting) >= _COMMIT:
                _commit(reference_store, report, plan.geometry, waiting, screened)
                waiting = []
            advance(report, len(batch.images))
        if waiting:
            _commit(reference_store, report, plan.geometry, waiting, screened)
    return tuple(reports)


def _plan(
    reference_store: ReferenceStore,
    number: int,
    folder: CategoryFolder,
    limits: ImageLimits,
    decoders: int,
    depth: BitDepth | None,
    policy: GeometryPolicy | None,
    choice: GeometryChoice | None,
) -> CategoryPlan | str:
    """How a folder's images are inspected and read, or why they cannot be."""
    try:
        geometry = _geometry(reference_store, folder, limits, policy or GeometryPolicy(), choice)
    except GeometryError as error:
        return f"geometry: {error}."
    reading = _reading(reference_store, folder, limits, decoders, depth)
    return CategoryPlan(number, folder.category, folder.paths, geometry, reading)


def _note(report: IndexReport, path: Path, reason: str | None) -> None:
    if reason is None:
        report.duplicates += 1
    else:
        report.rejected.append(RejectedImage(path, reason))


def _geometry(
    reference_store: ReferenceStore,
    category_folder: CategoryFolder,
    limits: ImageLimits,
    policy: GeometryPolicy,
    choice: GeometryChoice | None,
) -> InputGeometry:
    """How a category is inspected; a new one in the proportions that a sample of images of its folder have."""
    memory = reference_store.memory
    if category_folder.category in memory.geometries:
        return memory.geometries[category_folder.category]
    sample = category_folder.paths[:: -(-len(category_folder.paths) // _SAMPLED)]
    sizes = Counter(size for path in sample if (size := _size(path, limits)) is not None)
    return geometry_of_new(memory, sizes, len(category_folder.paths), policy, choice)


def _size(path: Path, limits: ImageLimits) -> Size | None:
    try:
        with path.open("rb") as file:
            return image_size(file, limits)
    except OSError:
        return None


def _reading(
    reference_store: ReferenceStore,
    category_folder: CategoryFolder,
    limits: ImageLimits,
    decoders: int,
    depth: BitDepth | None,
) -> Reading:
    """How a category's images are read: see `Profile.reading`. Some from all over the folder are looked at."""
    published = reference_store.published
    profile = published.profiles.get(category_folder.category, Profile())
    depth = depth or published.settings.get(category_folder.category, CategorySettings()).bit_depth
    largest: list[int] = []
    if depth is None and profile.depths_are_open:
        sample = category_folder.paths[:: -(-len(category_folder.paths) // _SAMPLED)]
        with ThreadPoolExecutor(decoders, thread_name_prefix="sample") as pool:
            largest = [size for size in pool.map(lambda path: _largest(path, limits), sample) if size is not None]
    return profile.reading(depth, max(largest, default=None))


def _largest(path: Path, limits: ImageLimits) -> int | None:
    """The largest value of a file that has 16 bits a channel; None of another, and of one that cannot be read."""
    try:
        with path.open("rb") as file:
            if not has_sixteen_bits(file):
                return None
        return read_image(path, limits).max_value
    except (ImageRejected, OSError):
        return None


class _Screener:
    """Screens one category's images, commit by commit, against each other and the existing references."""

    def __init__(
        self, reference_store: ReferenceStore, engine: PatchSearchEngine, category: str, geometry: InputGeometry
    ) -> None:
        self._reference_store, self._engine, self._category, self._geometry = (
            reference_store,
            engine,
            category,
            geometry,
        )
        settings_by_category = {stored.name: stored.settings for stored in reference_store.catalogue.categories.list()}
        self._settings = settings_by_category.get(category, CategorySettings())
        self._known = KnownReferences(
            stored_statistics(reference_store, category, self._settings.scoring),
            [PhotoQuality(**appearance) for appearance in reference_store.catalogue.references.appearances(category)],
        )

    def decide(self, images: Sequence[SourceImage], codes: Mapping[str, EncodedReferences]) -> OnboardingDecision:
        """Which of a commit's images are taken."""
        memory = self._reference_store.memory
        memory = memory.with_geometries({**memory.geometries, self._category: self._geometry})
        onboarding = Onboarding(memory, self._engine, self._category, self._settings, images, codes)
        compared = [onboarding.compare(index) for index in range(onboarding.count)]
        decision = onboarding.decide(compared, self._known)
        self._known = decision.known
        return decision


def _commit(
    reference_store: ReferenceStore,
    report: IndexReport,
    geometry: InputGeometry,
    waiting: Sequence[EncodedImage],
    screened: _Screener | None,
) -> None:
    # Many were encoded before those of the last commit were references.
    existing = reference_store.find_existing(report.category, [encoded.original.sha256 for encoded in waiting])
    report.duplicates += sum(encoded.original.sha256 in existing for encoded in waiting)
    waiting = [encoded for encoded in waiting if encoded.original.sha256 not in existing]
    images = [encoded.original for encoded in waiting]
    codes = {encoded.original.sha256: encoded.codes for encoded in waiting}
    if images and screened is not None:
        decision = screened.decide(images, codes)
        report.images_until_outlier_check = decision.images_until_outlier_check
        for position, reason in decision.refused.items():
            report.rejected.append(RejectedImage(waiting[position].path, f"{reason.kind}: {reason.detail}"))
        for position, image in decision.accepted.items():
            report.findings += ((waiting[position].path, finding) for finding in image.findings)
        images = list(decision.accepted.values())
    if images:
        added = reference_store.add(report.category, images, codes, geometry)
        fresh = sum(outcome.status == "added" for outcome in added.outcomes)
        report.added += fresh
        report.duplicates += len(images) - fresh  # the same image twice among these, or another process was quicker
