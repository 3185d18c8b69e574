"""Adds images as references: encode, screen, commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from indexer.domain.bit_depth import BitDepth
from indexer.domain.category import CategorySettings
from indexer.domain.errors import MemoryInactive, OriginalUnreadable
from indexer.domain.finding import Finding, FindingKind
from indexer.domain.notice import Notice
from indexer.domain.profile import Profile
from indexer.domain.reading import Reading
from indexer.domain.reference import Reference
from indexer.imaging.decode import ImageRejected
from indexer.memory import EncodedReferences, MemoryBank
from indexer.references.reference_store import AddOutcome, AddResult
from indexer.screening.photo_quality import PhotoQuality
from indexer.screening.screening import Screening, ScreeningResult, all_findings, images_until_outlier_check
from service.http.problems import from_rejection
from service.inference.decoder import DecodedImage, ImageFile, Upload
from service.inference.image_reading import notices_of_references, reading_of_references
from service.inference.in_flight import Lease
from service.inference.worker import JobContext
from service.state import AppState
from service.usecases.stored_images import read_stored_image


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

    version: of the snapshot that holds them. settings: of the category. outliers_need: how many more images it takes to
    find outliers among them; None when none was screened.
    """

    version: int
    images: tuple[OnboardedImage, ...]
    settings: CategorySettings
    outliers_need: int | None


@dataclass(frozen=True)
class _Added:
    """What became of decoded images, by their positions in the request.

    findings: of every image that was screened. rejected: those not added, each with the finding that decided it. added:
    the positions of `result.outcomes`.
    """

    findings: dict[int, tuple[Finding, ...]]
    rejected: dict[int, Finding]
    added: tuple[int, ...]
    result: AddResult
    outliers_need: int | None


async def onboard(
    state: AppState,
    upload: Upload,
    category: str,
    refuse: Collection[FindingKind] | None,
    bit_depth: BitDepth | None,
) -> OnboardingResult:
    """Decode uploaded images and add those that pass screening to a category, which is created if it is new.

    refuse: findings that reject an image; None uses the category's setting. bit_depth: of files with 16 bits per
    channel; None uses the category's, or infers it. Raises ProblemError when no image can be decoded.
    """
    published = state.library.published
    reading, inferred = await reading_of_references(published, category, bit_depth, state.onboarding_decoder, upload)
    decoded = await state.onboarding_decoder.decode(upload, reading)
    images = {index: image for index, image in enumerate(decoded) if isinstance(image, DecodedImage)}
    if not images:
        raise from_rejection(next(image for image in decoded if isinstance(image, ImageRejected)))
    settings = published.settings.get(category, CategorySettings())
    profile = published.profiles.get(category, Profile())
    notices = dict(zip(images, notices_of_references(list(images.values()), profile, inferred=inferred), strict=True))
    added = await _add(state, category, images, settings, settings.refuse if refuse is None else refuse)
    outcomes: dict[int, AddOutcome | Finding] = dict(zip(added.added, added.result.outcomes, strict=True))
    outcomes |= added.rejected
    onboarded = tuple(
        OnboardedImage(
            image if isinstance(image, ImageRejected) else outcomes[index],
            added.findings.get(index, ()),
            notices.get(index, ()),
        )
        for index, image in enumerate(decoded)
    )
    return OnboardingResult(added.result.version, onboarded, settings, added.outliers_need)


async def _add(
    state: AppState,
    category: str,
    pictures: Mapping[int, DecodedImage],
    settings: CategorySettings,
    refuse: Collection[FindingKind],
) -> _Added:
    """Encode images behind all detections, screen them, and commit together those not refused.

    images: by position in the request. refuse: findings for which an image is refused; with any other it is kept.
    Images known already, or sent twice, are neither encoded nor screened again.
    """
    encoded = await _encode(state, category, list(pictures.values()))
    first = {image.original.sha256: position for position, image in reversed(list(pictures.items()))}
    fresh = [position for digest, position in sorted(first.items(), key=lambda each: each[1]) if digest in encoded]
    screened = {each: pictures[each] for each in fresh}
    findings, needed = await _screen(state, category, settings, screened, encoded)
    reasons = {
        position: next(each for each in found if each.kind in refuse)
        for position, found in findings.items()
        if any(each.kind in refuse for each in found)
    }
    refused = {
        position: reasons[first[image.original.sha256]]
        for position, image in pictures.items()
        if first[image.original.sha256] in reasons
    }
    stored = tuple(position for position in pictures if position not in refused)
    originals = [
        replace(pictures[each].original, appearance=photo_appearance(pictures[each]), findings=findings.get(each, ()))
        for each in stored
    ]
    added = await asyncio.to_thread(state.library.add, category, originals, encoded)
    return _Added(findings, refused, stored, added, needed)


async def restore(
    state: AppState, category: str, references: Sequence[Reference]
) -> list[AddOutcome | ImageRejected | OriginalUnreadable]:
    """Make references that were removed ones again, together, with what was known of each, and their category too.

    Returns what became of each: one whose image is gone, or cannot be read any more, keeps none of the others.
    """
    with state.onboarding.held_bytes.lease() as held:
        return await _restore(state, category, references, held)


async def _restore(
    state: AppState, category: str, references: Sequence[Reference], held: Lease
) -> list[AddOutcome | ImageRejected | OriginalUnreadable]:
    read = [await _read_again(state, each, held) for each in references]
    images = [(each, image) for each, image in zip(references, read, strict=True) if isinstance(image, DecodedImage)]
    encoded = await _encode(state, category, [image for _, image in images])
    originals = [
        replace(
            image.original,
            appearance=photo_appearance(image),
            inspection_id=each.inspection_id,
            findings=tuple(Finding(**cast(dict[str, Any], finding)) for finding in each.findings),
        )
        for each, image in images
    ]
    if originals:  # which would begin a category anew that was removed
        await asyncio.to_thread(state.library.restore_category, category)
    added = await asyncio.to_thread(state.library.add, category, originals, encoded)
    outcomes = iter(added.outcomes)
    return [next(outcomes) if isinstance(each, DecodedImage) else each for each in read]


async def _read_again(
    state: AppState, reference: Reference, held: Lease
) -> DecodedImage | ImageRejected | OriginalUnreadable:
    try:
        data = await read_stored_image(state, reference.image_sha256, reference.image_suffix, held)
    except OriginalUnreadable as error:
        return error
    upload = Upload((ImageFile(reference.filename, data),))
    [image] = await state.onboarding_decoder.decode(upload, Reading.from_json(reference.reading))
    return image


async def encode_picture(state: AppState, picture: DecodedImage) -> EncodedReferences:
    """One image as a reference, encoded behind all detections."""
    return await asyncio.wrap_future(state.worker.submit_onboarding(picture.prepared, _encoding(state)))


async def _encode(state: AppState, category: str, pictures: Sequence[DecodedImage]) -> dict[str, EncodedReferences]:
    """By sha256, of the images that are not references of the category yet."""
    digests = [image.original.sha256 for image in pictures]
    known = await asyncio.to_thread(state.library.find_existing, category, digests)

    fresh = {image.original.sha256: image for image in pictures if image.original.sha256 not in known}
    encode = _encoding(state)
    futures = [state.worker.submit_onboarding(image.prepared, encode) for image in fresh.values()]
    encoded = await asyncio.gather(*map(asyncio.wrap_future, futures))
    return dict(zip(fresh, encoded, strict=True))


def _encoding(state: AppState) -> Callable[[JobContext], EncodedReferences]:
    codec = state.library.memory.codec
    return lambda turn: codec.encode(turn.features)


async def _screen(
    state: AppState,
    category: str,
    settings: CategorySettings,
    pictures: Mapping[int, DecodedImage],
    encoded: Mapping[str, EncodedReferences],
) -> tuple[dict[int, tuple[Finding, ...]], int | None]:
    """Every image's findings, and how many more it takes to find outliers among them.

    Each is compared with the others in a turn of its own, behind all detections.
    """
    if not pictures:
        return {}, None
    positions = list(pictures)
    parts = [encoded[image.original.sha256] for image in pictures.values()]
    memory = state.library.memory
    if any(part.codec != memory.codec.name for part in parts):
        raise MemoryInactive("the memory was switched to another codec while the pictures were encoded")
    names = [image.original.filename for image in pictures.values()]
    screening = Screening(memory, state.engine, category, settings.scoring, parts, names)

    def comparing(number: int) -> Callable[[MemoryBank], ScreeningResult]:
        return lambda _: screening.compare(number)

    turns = [state.worker.submit_screening(comparing(number)) for number in range(len(positions))]
    compared = await asyncio.gather(*map(asyncio.wrap_future, turns))
    calibration = state.calibrations.of(category)
    known = () if calibration is None else calibration.statistics
    space = state.encoder.space
    stored = await asyncio.to_thread(state.library.catalogue.references.appearances, category)
    found = all_findings(
        compared,
        [photo_appearance(image) for image in pictures.values()],
        known,
        [PhotoQuality(**each) for each in stored],
        space.geometry.crop / space.grid[0],
    )
    told = {
        position: tuple(
            each if each.picture is None else replace(each, picture=positions[each.picture]) for each in findings
        )
        for position, findings in zip(positions, found, strict=True)
    }
    return told, images_until_outlier_check(compared, known)


def photo_appearance(picture: DecodedImage) -> PhotoQuality:
    """How an image looks as a photograph."""
    return PhotoQuality.from_image(picture.prepared.cpu(), picture.original.width, picture.original.height)
