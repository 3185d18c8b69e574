"""Encodes camera frames: as lossless PNG to be inspected, as small JPEG to be looked at."""

from __future__ import annotations

import cv2
import numpy as np

from touchstone_line_agent.sources.base import CaptureFailed

_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_MAX_JPEG_SIDE = 640
_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 70]


def encode_png(frame: cv2.typing.MatLike) -> bytes:
    """A frame (grey, or BGR; 8 or 16 bits) as PNG. CaptureFailed when it cannot be encoded."""
    encoded, data = cv2.imencode(".png", frame, _FAST)
    if not encoded:
        raise CaptureFailed("the frame cannot be encoded as PNG")
    return data.tobytes()


def encode_jpeg(frame: cv2.typing.MatLike, bit_depth: int) -> bytes:
    """A frame (grey, or BGR; 8 or 16 bits) as JPEG with at most 640 pixels a side.

    bit_depth: how many bits a frame of 16 bits uses; the upper 8 of them remain. CaptureFailed.
    """
    height, width = frame.shape[:2]
    scale = _MAX_JPEG_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    if frame.dtype == np.uint16:
        frame = np.minimum(np.right_shift(frame, bit_depth - 8, dtype=np.uint16), 255).astype(np.uint8)
    encoded, data = cv2.imencode(".jpg", frame, _JPEG_QUALITY)
    if not encoded:
        raise CaptureFailed("the frame cannot be encoded as JPEG")
    return data.tobytes()
