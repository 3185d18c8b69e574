"""Encodes pixels as PNG or JPEG, and scales them down before."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def encode_png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A PNG of uint8 (height, width, 3) RGB or (height, width, 4) RGBA, or of grey (height, width) in 8 or 16 bits."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    done, encoded = cv2.imencode(".png", image[..., order[image.shape[2]]] if image.ndim == 3 else image)
    if not done:
        raise ValueError(f"cannot write a PNG of shape {image.shape} and type {image.dtype}")
    return encoded.tobytes()


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG of uint8 (height, width, 3) RGB; quality: 1 … 100."""
    done, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot write a JPEG of shape {image.shape}")
    return encoded.tobytes()


def downscale(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The image with its longer side at most `side` pixels, by area; a smaller one is left as it is.

    It is halved while it can be, without the last row or column of an odd number: that takes a sixth of the time that
    one step by a fraction does.
    """
    while max(image.shape[:2]) >= 2 * side and min(image.shape[:2]) > 1:
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        image = cv2.resize(even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA).astype(
            np.uint8
        )
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    smaller: NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return smaller


def detect_suffix(data: bytes) -> str:
    """The file name suffix of accepted bytes, from what they are rather than from what they are called."""
    signatures = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"RIFF": ".webp"}
    return next((suffix for start, suffix in signatures.items() if data.startswith(start)), ".tif")
