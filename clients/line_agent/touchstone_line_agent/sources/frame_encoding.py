"""Encodes camera frames as lossless PNG."""

from __future__ import annotations

import cv2

from touchstone_line_agent.sources import CaptureFailed

_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def encode_png(frame: cv2.typing.MatLike) -> bytes:
    """A frame (grey, or BGR; 8 or 16 bits) as PNG. CaptureFailed when it cannot be encoded."""
    encoded, data = cv2.imencode(".png", frame, _FAST)
    if not encoded:
        raise CaptureFailed("the frame cannot be encoded as PNG")
    return data.tobytes()
