"""Reads the pixels of an image as its category's references were read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.domain.bit_depth import FULL
from indexer.domain.geometry import InputGeometry
from indexer.domain.reading import Reading
from indexer.imaging.decode import ImageRejected, RawImage
from indexer.imaging.encoding import apply_encoding


def reading_for(stored: RawImage, reading: Reading) -> Reading:
    """What of a category's reading applies to one image: an image that is coarse enough is not stored again."""
    coarsened = reading.stored_as is not None and stored.encoding.is_finer_than(reading.stored_as)
    return Reading(reading.depth if stored.max_value is not None else FULL, reading.stored_as if coarsened else None)


def read_pixels(stored: RawImage, reading: Reading, geometries: Sequence[InputGeometry] = ()) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) RGB. ImageRejected when the depth that it takes is not known, or too small.

    geometries: as `read_image` takes them; with some, an image that is stored again may be smaller than its file.
    """
    if reading.depth is None:
        if stored.max_value is not None:
            raise ImageRejected(
                "depth-unknown",
                "It has 16 bits a channel, and the categories' files have different numbers of bits: name the "
                "category, or say bit_depth.",
            )
        return stored.rgb()
    image = stored.rgb(reading.depth)
    return image if reading.stored_as is None else apply_encoding(image, reading.stored_as, geometries)
