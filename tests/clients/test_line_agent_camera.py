"""A camera that OpenCV refuses with an exception is an error, and tried again."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.helpers.machines import wait_until
from touchstone_line_agent.config import CameraSource
from touchstone_line_agent.sources import CaptureFailed
from touchstone_line_agent.sources.camera import OpencvCamera


def test_a_camera_that_raises_says_so_and_is_tried_again() -> None:
    beyond = CameraSource.model_construct(kind="camera", device=1 << 31, url=None, frame_timeout_ms=10)
    camera = OpencvCamera(beyond)  # which raises whenever it is opened: a number that is no C integer
    wait_until(lambda: camera.error.startswith("unexpected error: "), "the error", 10)
    with pytest.raises(CaptureFailed, match="unexpected error"):
        asyncio.run(camera.capture())
    assert camera._thread.is_alive()
    asyncio.run(camera.close())
