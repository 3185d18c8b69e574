"""A video file: every nth frame is a part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2

from touchstone_line_agent.config import VideoSource
from touchstone_line_agent.sources.base import CapturedImage, CaptureFailed, Frame
from touchstone_line_agent.sources.frame_encoding import encode_png


class VideoFeed:
    """Reads a file to its end. Frames are identified by number: after a restart, stored ones are ignored."""

    error = ""  # errors are raised as CaptureFailed

    def __init__(self, config: VideoSource) -> None:
        self._config = config
        self.frame: Frame | None = None  # of the last part

    async def run(
        self, accept: Callable[[CapturedImage], Awaitable[None]], release: Callable[[str], Awaitable[None]]
    ) -> None:
        """Deliver frames in order. CaptureFailed when the file cannot be read as video."""
        loop, frames = asyncio.get_running_loop(), self._frames()
        with ThreadPoolExecutor(1) as thread:  # a capture must stay on the thread that opened it
            while (numbered := await loop.run_in_executor(thread, next, frames, None)) is not None:
                number, data = numbered
                name = f"{self._config.path.stem}-{number:06d}"
                await accept(CapturedImage(data, f"{name}.png", name, f"{self._config.path}#{number}"))
                await asyncio.sleep(self._config.interval_ms / 1000)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        capture = cv2.VideoCapture(str(self._config.path))
        try:
            if not capture.isOpened():
                raise CaptureFailed(f"{self._config.path} cannot be read as video")
            number = 0
            while capture.grab():
                if number % self._config.frame_step == 0:
                    success, frame = capture.retrieve()
                    if success:
                        self.frame = Frame(frame)
                        yield number, encode_png(frame)
                number += 1
        finally:
            capture.release()
