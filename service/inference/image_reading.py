"""How a request's images are read: by what it says, else by what is known of the categories that they may belong to."""

from __future__ import annotations

from collections.abc import Sequence

from indexer.domain.bit_depth import FULL, BitDepth, is_narrow
from indexer.domain.category import CategorySettings
from indexer.domain.notice import Notice
from indexer.domain.profile import Group, Profile
from indexer.domain.reading import Reading
from indexer.references.snapshot_loader import PublishedState
from service.inference.decoder import Decoder, Picture, Upload


def reading_of_parts(published: PublishedState, category: str | None, stated: BitDepth | None) -> Reading:
    """How images to be inspected are read. stated: the bit depth that the request names.

    With no category they are read as all categories have it; where these differ in the bit depth it is not known, and
    where they differ in how references are stored images are read as they are.
    """
    names = list(published.settings) if category is None else [category]
    stored_as = {published.profiles.get(name, Profile()).stored_as for name in names}
    depths = {depth for name in names if (depth := published.settings[name].bit_depth) is not None}
    depth = stated if stated is not None else next(iter(depths or {FULL})) if len(depths) < 2 else None
    return Reading(depth, next(iter(stored_as)) if len(stored_as) == 1 else None)


async def reading_of_references(
    published: PublishedState, category: str, stated: BitDepth | None, decoder: Decoder, upload: Upload
) -> tuple[Reading, bool]:
    """How images that are to become references are read, and whether the bit depth was told from their values."""
    profile = published.profiles.get(category, Profile())
    depth = stated or published.settings.get(category, CategorySettings()).bit_depth
    largest = await decoder.largest(upload) if depth is None and profile.depths_are_open else None
    return profile.reading(depth, largest), largest is not None


def notices_of_part(picture: Picture, profile: Profile, unseen: float) -> tuple[Notice, ...]:
    """What people should know of how an inspected picture was read.

    profile: of the references that it is compared with. unseen: the share of every picture that is cut off.
    """
    original, found = picture.original, _of_depth(picture, inferred=False)
    if original.encoding is not None:
        found += profile.notices_of_part(original.encoding, original.reading, original.width, original.height)
    if unseen:
        detail = f"Its border, {unseen:.0%} of it, is cut off and was not inspected: see `touchstone rebuild`."
        found.append(Notice("border_not_inspected", detail))
    return tuple(found)


def notices_of_references(pictures: Sequence[Picture], profile: Profile, *, inferred: bool) -> list[tuple[Notice, ...]]:
    """What people should know of how each of some new references was read.

    profile: of the references that there are. inferred: whether the bit depth was told from their values.
    """
    originals = [picture.original for picture in pictures]
    profile = profile.joined(Group(each.encoding, each.reading, each.width, each.height, 1) for each in originals)
    told = []
    for picture, each in zip(pictures, originals, strict=True):
        found = _of_depth(picture, inferred=inferred)
        if each.encoding is not None:
            found += profile.notices_of_reference(each.encoding, each.reading, each.width, each.height)
        told.append(tuple(found))
    return told


def _of_depth(picture: Picture, *, inferred: bool) -> list[Notice]:
    depth = picture.original.reading.depth or FULL
    found: list[Notice] = []
    if picture.largest is not None and inferred:
        detail = f"It is read as {depth} bits a channel, which hold every value: say bit_depth if it has others."
        found.append(Notice("bit_depth_inferred", detail))
    if picture.largest is not None and is_narrow(picture.largest, depth):
        detail = (
            f"Its values go up to {picture.largest} of {(1 << depth) - 1}, a quarter of the range at most: if the "
            "camera's files have fewer bits, say bit_depth."
        )
        found.append(Notice("narrow_range", detail))
    return found
