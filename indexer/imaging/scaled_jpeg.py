"""Decodes a JPEG at a half, a quarter or an eighth of its size, where its pixels are scaled down further anyway.

libjpeg's inverse cosine transform gives these sizes directly, for a fraction of the time and memory of all pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from indexer.domain.geometry import InputGeometry, Size, scaled_size

_DIVISORS = (8, 4, 2)
_OVERSAMPLING = 2  # decoded pixels a side for each that the encoder sees: the rest of the scaling is a smooth filter's
_MIN_SIDE = 256  # pixels of the longer side that thumbnails are made of


def jpeg_divisor(size: Size, geometries: Sequence[InputGeometry]) -> int:
    """By how much both sides of a JPEG may be divided when it is decoded: 1, 2, 4 or 8.

    size: (width, height) as the image is seen. geometries: those that its pixels are prepared for; with none, all
    pixels are needed. Sides that do not divide evenly are not divided, so that pixels of both sizes lie exactly on each
    other. OtherProportions where a geometry refuses the image.
    """
    if not geometries:
        return 1
    width, height = scaled_size(size, geometries)
    for divisor in _DIVISORS:
        across, down = size[0] // divisor, size[1] // divisor
        if (
            (across * divisor, down * divisor) == size
            and across >= _OVERSAMPLING * width
            and down >= _OVERSAMPLING * height
            and max(across, down) >= _MIN_SIDE
        ):
            return divisor
    return 1


def divide(image: Image.Image, divisor: int) -> None:
    """Have an opened JPEG decoded so much smaller; call it before its pixels are loaded."""
    if divisor > 1:
        image.draft(None, (image.width // divisor, image.height // divisor))
