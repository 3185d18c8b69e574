"""Prepares a reference's stored image to be encoded again."""

from __future__ import annotations

from collections.abc import Callable

from indexer.domain.encoding import Encoding
from indexer.domain.errors import OriginalUnreadable, OtherProportions
from indexer.domain.geometry import InputGeometry
from indexer.domain.reading import Reading
from indexer.domain.reference import Reference
from indexer.encoders import PreparedImage, Preprocess
from indexer.imaging.decode import ImageLimits, ImageRejected, read_image
from indexer.imaging.encoding import apply_encoding
from indexer.imaging.reading import read_pixels


def prepare_stored(
    reference: Reference,
    read: Callable[[str, str], bytes],
    limits: ImageLimits,
    preprocess: Preprocess,
    geometry: InputGeometry,
    encoding: Encoding | None = None,
) -> PreparedImage | None:
    """The image, read as it was when it became a reference, prepared for a geometry; None if that cannot be done.

    read: the bytes of a stored image by its sha256 and suffix. encoding: as if it had been stored in this way, too.
    """
    geometries = (geometry, preprocess.global_geometry)
    scaled_for = geometries if encoding is None else ()  # what is stored again needs all pixels before
    try:
        data = read(reference.image_sha256, reference.image_suffix)
        reading = Reading.from_json(reference.reading)
        stored = read_image(data, limits, scaled_for, reading.stored_as)
        pixels = read_pixels(stored, reading, scaled_for)
        if encoding is not None:
            pixels = apply_encoding(pixels, encoding, geometries)
        return preprocess(pixels, geometry, stored.size)
    except (OriginalUnreadable, ImageRejected, OtherProportions, OSError):
        return None
