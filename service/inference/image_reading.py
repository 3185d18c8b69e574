"""Decides how a request's images are read: by its own fields, else by what is known of the category."""

from __future__ import annotations

from collections.abc import Sequence

from indexer.domain.bit_depth import FULL, BitDepth, is_narrow
from indexer.domain.category import CategorySettings
from indexer.domain.geometry import Frame, Placement
from indexer.domain.notice import Notice
from indexer.domain.profile import CalibrationKind, EncodingGroup, Profile
from indexer.domain.reading import Reading
from indexer.references.snapshot_loader import PublishedState
from service.inference.decoder import DecodedImage, Decoder, Upload

_UNSEEN = 0.002  # of an image's area, that rounding to pixels may leave out


def reading_of_parts(published: PublishedState, category: str | None, stated: BitDepth | None) -> Reading:
    """How images to be inspected are read. stated: the bit depth that the request names.

    With no category they are read as all categories have it; where these differ in the bit depth it is not known, and
    where they differ in how references are stored images are read as they are.
    """
    names = list(published.settings) if category is None else [category]
    stored_as = {published.profiles.get(name, Profile()).stored_as for name in names}
    # One may have been removed meanwhile, or be so new that it has not arrived from another replica.
    settings = [published.settings.get(name, CategorySettings()) for name in names]
    depths = {depth for of_category in settings if (depth := of_category.bit_depth) is not None}
    depth = stated if stated is not None else next(iter(depths or {FULL})) if len(depths) < 2 else None
    return Reading(depth, next(iter(stored_as)) if len(stored_as) == 1 else None)


async def reading_of_references(
    published: PublishedState, category: str, stated: BitDepth | None, decoder: Decoder, upload: Upload
) -> tuple[Reading, bool]:
    """How images that are to become references are read, and whether the bit depth was inferred from their values."""
    profile = published.profiles.get(category, Profile())
    depth = stated or published.settings.get(category, CategorySettings()).bit_depth
    largest = await decoder.largest(upload) if depth is None and profile.depths_are_open else None
    return profile.reading(depth, largest), largest is not None


def notices_of_part(image: DecodedImage, profile: Profile, frame: Frame, judged: CalibrationKind) -> tuple[Notice, ...]:
    """What people should know of how an inspected image was read.

    profile: of the references that it is compared with. frame: its cells. judged: by which calibration.
    """
    original, notices = image.original, _of_depth(image, inferred=False)
    if original.encoding is not None:
        notices += profile.notices_of_part(original.encoding, original.reading, original.width, original.height, judged)
    return (*notices, *_of_placement(frame.placement))


def notices_of_references(
    images: Sequence[DecodedImage], profile: Profile, *, inferred: bool
) -> list[tuple[Notice, ...]]:
    """What people should know of how each of some new references was read.

    profile: of the references that there are. inferred: whether the bit depth was inferred from their values.
    """
    originals = [image.original for image in images]
    profile = profile.with_groups(
        EncodingGroup(original.encoding, original.reading, original.width, original.height, 1) for original in originals
    )
    notices = []
    for image, original in zip(images, originals, strict=True):
        of_depth = _of_depth(image, inferred=inferred)
        of_depth += _of_placement(image.prepared.placement)
        if original.encoding is not None:
            of_depth += profile.notices_of_reference(
                original.encoding, original.reading, original.width, original.height
            )
        notices.append(tuple(of_depth))
    return notices


def _of_placement(placement: Placement) -> list[Notice]:
    """What of an image is not inspected, and where it lies otherwise than most of its category."""
    notices: list[Notice] = []
    if placement.letterboxed:
        (width, height), (across, down) = placement.image_size, placement.geometry.resized
        detail = (
            f"It has {width} × {height} pixels, other proportions than the {across} × {down} that its category is "
            "inspected at: they were kept, and what it leaves of those is not scored."
        )
        notices.append(Notice("other_proportions", detail))
    width, height = placement.image_size
    left, top, right, bottom = placement.inspected_box
    unseen = 1 - (right - left) * (bottom - top) / (width * height)
    if unseen > _UNSEEN:
        detail = (
            f"{unseen:.0%} of it lies outside of the window that its category is inspected in, and is not inspected."
        )
        notices.append(Notice("border_not_inspected", detail))
    return notices


def _of_depth(image: DecodedImage, *, inferred: bool) -> list[Notice]:
    depth = image.original.reading.depth or FULL
    notices: list[Notice] = []
    if image.largest is not None and inferred:
        detail = f"It is read as {depth} bits a channel, which hold every value: say bit_depth if it has others."
        notices.append(Notice("bit_depth_inferred", detail))
    if image.largest is not None and is_narrow(image.largest, depth):
        detail = (
            f"Its values go up to {image.largest} of {(1 << depth) - 1}, a quarter of the range at most: if the "
            "camera's files have fewer bits, say bit_depth."
        )
        notices.append(Notice("narrow_range", detail))
    return notices
