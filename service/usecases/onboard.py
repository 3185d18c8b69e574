"""Adds images as references: encode, screen, commit."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from indexer.domain.bit_depth import BitDepth
from indexer.domain.category import CategorySettings
from indexer.domain.errors import GeometryInactive, NotEncoded, OriginalUnreadable
from indexer.domain.finding import Finding, FindingKind
from indexer.domain.geometry import InputGeometry
from indexer.domain.geometry_choice import GeometryChoice, commonest
from indexer.domain.notice import Notice
from indexer.domain.photo_quality import PhotoQuality
from indexer.domain.profile import Profile
from indexer.domain.reading import Reading
from indexer.domain.reference import Reference
from indexer.imaging.decode import ImageRejected
from indexer.memory import EncodedReferences, MemoryBank
from indexer.references.reference_store import AddOutcome, AddResult
from indexer.references.snapshot_loader import PublishedState
from indexer.references.source_image import SourceImage
from indexer.screening.onboarding import KnownReferences, Onboarding, OnboardingDecision
from indexer.screening.outliers import ScreeningResult
from indexer.screening.photo_quality import photo_quality_of
from indexer.search.cost import geometry_of_new
from service.inference.decoder import DecodedImage, ImageFile, Upload
from service.inference.image_reading import notices_of_references, reading_of_references
from service.inference.in_flight import Lease
from service.inference.worker import JobContext
from service.state import AppState
from service.usecases.stored_images import read_stored_image

T = TypeVar("T")


@dataclass(frozen=True)
class OnboardedImage:
    """What became of one image.

    outcome: how it was added, or why not: it could not be decoded, or a finding of screening rejected it.
    """

    outcome: AddOutcome | ImageRejected | Finding
    findings: tuple[Finding, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class OnboardingResult:
    """What became of the images of one request, in order.

    version: of the snapshot that holds them. settings: of the category. images_until_outlier_check: how many more
    images it takes to find outliers among them; None when none was screened.
    """

    version: int
    images: tuple[OnboardedImage, ...]
    settings: CategorySettings
    images_until_outlier_check: int | None


async def onboard(
    state: AppState,
    upload: Upload,
    category: str,
    refuse: Collection[FindingKind] | None,
    bit_depth: BitDepth | None,
    choice: GeometryChoice | None = None,
) -> OnboardingResult:
    """Decode uploaded images and add those that pass screening to a category, which is created if it is new.

    refuse: findings that reject an image; None uses the category's setting. bit_depth: of files with 16 bits per
    channel; None uses the category's, or infers it. choice: how fine a new category is inspected; one that there is
    keeps what it has. ImageRejected, the first image's, when none can be decoded; GeometryError.
    """
    published = state.reference_store.published
    geometry = await _geometry(state, published, category, upload, choice)
    reading, inferred = await reading_of_references(published, category, bit_depth, state.onboarding_decoder, upload)
    decoded = await state.onboarding_decoder.decode(upload, geometry, reading)
    images = {index: image for index, image in enumerate(decoded) if isinstance(image, DecodedImage)}
    if not images:
        raise next(image for image in decoded if isinstance(image, ImageRejected))
    settings = published.settings.get(category, CategorySettings())
    profile = published.profiles.get(category, Profile())
    notices = dict(zip(images, notices_of_references(list(images.values()), profile, inferred=inferred), strict=True))
    originals = [with_appearance(image) for image in images.values()]

    async def screen(encoded: Mapping[str, EncodedReferences]) -> tuple[list[SourceImage], OnboardingDecision]:
        decision = await _screen(state, category, geometry, settings, originals, encoded, refuse)
        return list(decision.accepted.values()), decision

    added, decision = await _add(state, category, geometry, list(images.values()), screen)
    outcomes: dict[int, AddOutcome | Finding] = dict(zip(decision.accepted, added.outcomes, strict=True))
    outcomes |= decision.refused
    positions = {index: position for position, index in enumerate(images)}  # among those that could be decoded
    onboarded = tuple(
        OnboardedImage(
            image if isinstance(image, ImageRejected) else outcomes[positions[index]],
            () if isinstance(image, ImageRejected) else decision.findings.get(positions[index], ()),
            notices.get(index, ()),
        )
        for index, image in enumerate(decoded)
    )
    return OnboardingResult(added.version, onboarded, settings, decision.images_until_outlier_check)


async def _geometry(
    state: AppState, published: PublishedState, category: str, upload: Upload, choice: GeometryChoice | None
) -> InputGeometry:
    """How images of a category are inspected; a new one in the proportions that most of its first images have."""
    memory = published.memory
    if category in memory.geometries:
        return memory.geometries[category]
    sizes = await state.onboarding_decoder.sizes(upload)
    return geometry_of_new(memory, sizes, len(upload.files), state.settings.geometry_policy, choice)


async def restore(
    state: AppState, category: str, references: Sequence[Reference]
) -> list[AddOutcome | ImageRejected | OriginalUnreadable]:
    """Restore removed references and their category in one transaction, with their metadata.

    Returns the outcome of each: a missing or unreadable image does not affect the others.
    """
    with state.onboarding.held_bytes.lease() as lease:
        return await _restore(state, category, references, lease)


async def _restore(
    state: AppState, category: str, references: Sequence[Reference], lease: Lease
) -> list[AddOutcome | ImageRejected | OriginalUnreadable]:
    geometry = await _kept_geometry(state, category, references)
    read = [await _read_again(state, reference, geometry, lease) for reference in references]
    images = [
        (reference, image) for reference, image in zip(references, read, strict=True) if isinstance(image, DecodedImage)
    ]
    originals = [
        replace(
            with_appearance(image),
            inspection_id=reference.inspection_id,
            findings=tuple(Finding(**cast(dict[str, Any], finding)) for finding in reference.findings),
        )
        for reference, image in images
    ]
    if originals:  # which would begin a category anew that was removed
        await asyncio.to_thread(state.reference_store.restore_category, category)

    async def accept_all(_: Mapping[str, EncodedReferences]) -> tuple[list[SourceImage], None]:
        return originals, None

    added, _ = await _add(state, category, geometry, [image for _, image in images], accept_all)
    outcomes = iter(added.outcomes)
    return [next(outcomes) if isinstance(image_or_error, DecodedImage) else image_or_error for image_or_error in read]


async def _kept_geometry(state: AppState, category: str, references: Sequence[Reference]) -> InputGeometry:
    """The geometry that a category has, or had when it was removed."""
    reference_store = state.reference_store
    text = await asyncio.to_thread(reference_store.catalogue.geometries.of, reference_store.memory_id, category)
    if text is not None:
        return InputGeometry.from_json(text)
    sizes = Counter((reference.width, reference.height) for reference in references)
    space = reference_store.memory.space
    size = commonest(sizes) or space.global_geometry.resized
    return state.settings.geometry_policy.of_new(size, space.patch)


async def _read_again(
    state: AppState, reference: Reference, geometry: InputGeometry, lease: Lease
) -> DecodedImage | ImageRejected | OriginalUnreadable:
    try:
        data = await read_stored_image(state, reference.image_sha256, reference.image_suffix, lease)
    except OriginalUnreadable as error:
        return error
    upload = Upload((ImageFile(reference.filename, data),))
    [image] = await state.onboarding_decoder.decode(upload, geometry, Reading.from_json(reference.reading))
    return image


async def _add(
    state: AppState,
    category: str,
    geometry: InputGeometry,
    images: Sequence[DecodedImage],
    select: Callable[[Mapping[str, EncodedReferences]], Awaitable[tuple[Sequence[SourceImage], T]]],
) -> tuple[AddResult, T]:
    """Encode images, and add those that `select` takes in one transaction; returns also what else it said.

    Begins again, with what is encoded already, when an image that was a reference is removed meanwhile.
    """
    encoded: dict[str, EncodedReferences] = {}
    while True:
        encoded |= await _encode(state, category, images, encoded)
        selected, decision = await select(encoded)
        try:
            added = await asyncio.to_thread(state.reference_store.add, category, selected, encoded, geometry)
        except NotEncoded:
            continue
        return added, decision


async def encode_image(state: AppState, image: DecodedImage) -> EncodedReferences:
    """One image as a reference, encoded behind all detections."""
    return await asyncio.wrap_future(state.worker.submit_onboarding(image.prepared, _encoding(state)))


async def _encode(
    state: AppState, category: str, images: Sequence[DecodedImage], done: Collection[str]
) -> dict[str, EncodedReferences]:
    """By sha256, of the images that are not references of the category yet, nor among those that are `done`."""
    digests = [image.original.sha256 for image in images]
    existing = await asyncio.to_thread(state.reference_store.find_existing, category, digests)

    known = {*existing, *done}
    fresh = {image.original.sha256: image for image in images if image.original.sha256 not in known}
    encode = _encoding(state)
    futures = [state.worker.submit_onboarding(image.prepared, encode) for image in fresh.values()]
    encoded = await asyncio.gather(*map(asyncio.wrap_future, futures))
    return dict(zip(fresh, encoded, strict=True))


def _encoding(state: AppState) -> Callable[[JobContext], EncodedReferences]:
    codec = state.reference_store.memory.codec
    return lambda turn: codec.encode(turn.features)


async def _screen(
    state: AppState,
    category: str,
    geometry: InputGeometry,
    settings: CategorySettings,
    images: Sequence[SourceImage],
    codes: Mapping[str, EncodedReferences],
    refuse: Collection[FindingKind] | None,
) -> OnboardingDecision:
    """Which images are taken. Each is compared with the others in a turn of its own, behind all detections."""
    memory = state.reference_store.memory
    if memory.geometries.get(category, geometry) != geometry:
        raise GeometryInactive("the category has got another geometry while the images were encoded")
    memory = memory.with_geometries({**memory.geometries, category: geometry})
    onboarding = Onboarding(memory, state.engine, category, settings, images, codes, refuse)

    def comparing(index: int) -> Callable[[MemoryBank], ScreeningResult]:
        return lambda _: onboarding.compare(index)

    turns = [state.worker.submit_screening(comparing(index)) for index in range(onboarding.count)]
    compared = await asyncio.gather(*map(asyncio.wrap_future, turns))
    calibration = state.calibrations.of(category)
    appearances = await asyncio.to_thread(state.reference_store.catalogue.references.appearances, category)
    known = KnownReferences(
        () if calibration is None else calibration.statistics,
        [PhotoQuality(**appearance) for appearance in appearances],
    )
    return onboarding.decide(compared, known)


def with_appearance(image: DecodedImage) -> SourceImage:
    """The source image with its photo quality."""
    original = image.original
    return replace(original, appearance=photo_quality_of(image.prepared.window.cpu(), original.width, original.height))
