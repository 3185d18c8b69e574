"""A camera that OpenCV opens: USB by number, RTSP by URL."""

from __future__ import annotations

import asyncio
import logging
import threading

import cv2

from touchstone_line_agent.config import CameraSource
from touchstone_line_agent.sources import NoPicture
from touchstone_line_agent.sources.frames import png

log = logging.getLogger("touchstone.line_agent")

_AGAIN_S = 1.0  # between attempts to open a camera that is away
_OPEN_MS = 5000


class OpencvCamera:
    """Reads all the time on a thread of its own, so that no old frame waits in a buffer, and keeps the newest.

    A camera that goes away is opened again for as long as it takes.
    """

    def __init__(self, config: CameraSource) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._frame: cv2.typing.MatLike | None = None
        self._count = 0
        self._said = ""  # in the log
        self.trouble = "the camera has not been opened yet"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    async def picture(self) -> bytes:
        """The next frame but one: the next may have been exposed before the call."""
        return await asyncio.to_thread(self._next)

    async def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _next(self) -> bytes:
        with self._changed:
            wanted = self._count + 2
            if not self._changed.wait_for(lambda: self._count >= wanted, self._config.frame_timeout_ms / 1000):
                raise NoPicture(self.trouble or f"no frame within {self._config.frame_timeout_ms} ms")
            frame = self._frame
        assert frame is not None
        return png(frame)

    def _read(self) -> None:
        while not self._stopping.is_set():
            capture = self._open()
            try:
                if not capture.isOpened():
                    self.trouble = "the camera cannot be opened"
                else:
                    self.trouble = self._said = ""
                    self._keep_newest(capture)
                    self.trouble = "the camera has stopped sending"
                if self.trouble != self._said and not self._stopping.is_set():
                    log.warning("%s; trying again", self.trouble)
                self._said = self.trouble
            finally:
                capture.release()
            self._stopping.wait(_AGAIN_S)

    def _open(self) -> cv2.VideoCapture:
        if self._config.url is not None:
            patience = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _OPEN_MS]
            return cv2.VideoCapture(self._config.url, cv2.CAP_FFMPEG, patience)
        assert self._config.device is not None
        return cv2.VideoCapture(self._config.device)

    def _keep_newest(self, capture: cv2.VideoCapture) -> None:
        while not self._stopping.is_set():
            fine, frame = capture.read()
            if not fine:
                return
            with self._changed:
                self._frame = frame
                self._count += 1
                self._changed.notify_all()
