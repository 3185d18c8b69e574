"""A video file: every nth frame is a part."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2

from touchstone_line_agent.config import VideoSource
from touchstone_line_agent.sources import NoPicture, Taken
from touchstone_line_agent.sources.frames import png


class Video:
    """Reads a file to its end. A frame is known by its number: after a restart, those taken already are passed over."""

    trouble = ""  # NoPicture says it

    def __init__(self, config: VideoSource) -> None:
        self._config = config

    async def run(self, take: Callable[[Taken], Awaitable[None]], forget: Callable[[str], Awaitable[None]]) -> None:
        """Bring frames in order. NoPicture when the file cannot be read as video."""
        loop, frames = asyncio.get_running_loop(), self._frames()
        with ThreadPoolExecutor(1) as thread:  # a capture belongs to the thread that opened it
            while (found := await loop.run_in_executor(thread, next, frames, None)) is not None:
                number, data = found
                name = f"{self._config.path.stem}-{number:06d}"
                await take(Taken(data, f"{name}.png", name, f"{self._config.path}#{number}"))
                await asyncio.sleep(self._config.interval_ms / 1000)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        capture = cv2.VideoCapture(str(self._config.path))
        try:
            if not capture.isOpened():
                raise NoPicture(f"{self._config.path} cannot be read as video")
            number = 0
            while capture.grab():
                if number % self._config.every == 0:
                    fine, frame = capture.retrieve()
                    if fine:
                        yield number, png(frame)
                number += 1
        finally:
            capture.release()
