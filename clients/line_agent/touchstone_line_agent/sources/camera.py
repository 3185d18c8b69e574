"""A camera opened by OpenCV: USB by number, RTSP by URL."""

from __future__ import annotations

import asyncio
import logging
import threading

import cv2

from touchstone_line_agent.config import CameraSource
from touchstone_line_agent.sources.base import CaptureFailed, Frame
from touchstone_line_agent.sources.frame_encoding import encode_png

log = logging.getLogger("touchstone.line_agent")

_REOPEN_INTERVAL_S = 1.0
_TIMEOUT_MS = 5000


class OpencvCamera:
    """Reads frames continuously on a thread, so that no old frame stays in a buffer, and keeps the latest.

    A camera that is unavailable is reopened until it responds.
    """

    def __init__(self, config: CameraSource) -> None:
        self._config = config
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._count = 0
        self._logged_error = ""
        self.error = "the camera has not been opened yet"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    async def capture(self) -> bytes:
        """The next frame but one: the next may have been exposed before the call."""
        return await asyncio.to_thread(self._wait_for_frame)

    @property
    def frame(self) -> Frame | None:
        """The latest frame, whether or not a part is captured; None when the camera has sent none or has stopped."""
        return None if self.error else self._frame

    async def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _wait_for_frame(self) -> bytes:
        with self._changed:
            number = self._count + 2
            if not self._changed.wait_for(lambda: self._count >= number, self._config.frame_timeout_ms / 1000):
                raise CaptureFailed(self.error or f"no frame within {self._config.frame_timeout_ms} ms")
            frame = self._frame
        assert frame is not None
        return encode_png(frame.values)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.error = self._read_until_it_fails()
            except Exception as error:  # OpenCV's own, or a driver's: a thread that ends would lose every later part
                self.error = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
            if self.error != self._logged_error and not self._stopping.is_set():
                log.warning("%s; retrying", self.error)
            self._logged_error = self.error
            self._stopping.wait(_REOPEN_INTERVAL_S)

    def _read_until_it_fails(self) -> str:
        """Why no more frames come."""
        capture = self._open()
        try:
            if not capture.isOpened():
                return "the camera cannot be opened"
            self.error = self._logged_error = ""
            self._read_frames(capture)
            return "the camera has stopped sending"
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        if self._config.url is not None:
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
            return cv2.VideoCapture(self._config.url, cv2.CAP_FFMPEG, timeouts)
        assert self._config.device is not None
        return cv2.VideoCapture(self._config.device)

    def _read_frames(self, capture: cv2.VideoCapture) -> None:
        while not self._stopping.is_set():
            success, values = capture.read()
            if not success:
                return
            with self._changed:
                self._frame = Frame(values)
                self._count += 1
                self._changed.notify_all()
