"""Thumbnails of inspections: small JPEGs that stay when the image itself is pruned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.imaging.encode import downscale, encode_jpeg

THUMBNAIL_SIDE = 192  # pixels of the longer side; 3 to 12 KB
_QUALITY = 80


def encode_thumbnail(image: NDArray[np.uint8]) -> bytes:
    """A JPEG of uint8 (height, width, 3) RGB, with no side above `THUMBNAIL_SIDE`."""
    return encode_jpeg(downscale(image, THUMBNAIL_SIDE), _QUALITY)
