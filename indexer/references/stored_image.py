"""Prepares a reference's stored image to be encoded again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from indexer.domain.errors import OriginalUnreadable, OtherProportions
from indexer.domain.reading import Reading
from indexer.domain.reference import Reference
from indexer.encoders import PreparedImage
from indexer.imaging.decode import ImageLimits, ImageRejected, read_image
from indexer.imaging.reading import read_pixels


def prepare_stored(
    reference: Reference,
    read: Callable[[str, str], bytes],
    limits: ImageLimits,
    prepare: Callable[[NDArray[np.uint8]], PreparedImage],
) -> PreparedImage | None:
    """The image, read as it was when it became a reference, as `prepare` makes it; None if that cannot be done.

    read: the bytes of a stored image by its sha256 and suffix. prepare: is given uint8 (height, width, 3) RGB.
    """
    try:
        data = read(reference.image_sha256, reference.image_suffix)
        return prepare(read_pixels(read_image(data, limits), Reading.from_json(reference.reading)))
    except (OriginalUnreadable, ImageRejected, OtherProportions, OSError):
        return None
