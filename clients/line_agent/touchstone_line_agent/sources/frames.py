"""A frame as it is sent and kept: lossless PNG."""

from __future__ import annotations

import cv2

from touchstone_line_agent.sources import NoPicture

_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def png(frame: cv2.typing.MatLike) -> bytes:
    """An image as OpenCV has it (grey, or BGR), as a PNG. NoPicture when it cannot be written as one."""
    fine, data = cv2.imencode(".png", frame, _FAST)
    if not fine:
        raise NoPicture("the frame cannot be written as PNG")
    return data.tobytes()
