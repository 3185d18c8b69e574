"""An industrial camera (GigE Vision, USB3 Vision), through harvesters and the manufacturer's GenTL producer."""

from __future__ import annotations

import asyncio
from typing import Any

from touchstone_line_agent.config import GenicamSource
from touchstone_line_agent.sources.base import CaptureFailed, Frame
from touchstone_line_agent.sources.frame_encoding import encode_png

_CHANNELS = {"Mono8": 1, "Mono10": 1, "Mono12": 1, "Mono14": 1, "Mono16": 1, "BGR8": 3}  # unpacked: 8 or 16 bits


class GenicamCamera:
    """Opens the camera at the first capture, and again after a failure. Needs the extra `genicam`.

    The camera must send Mono8, Mono10, Mono12, Mono14, Mono16 or BGR8, unpacked. It runs freely; a capture is the
    newest frame.
    """

    def __init__(self, config: GenicamSource) -> None:
        self._config = config
        self._harvester: Any = None
        self._acquirer: Any = None
        self._lock = asyncio.Lock()
        self.error = ""  # unknown before the first capture
        self.frame: Frame | None = None  # of the last part: to fetch another could delay a part

    async def capture(self) -> bytes:
        """The first frame that arrives after the call."""
        async with self._lock:
            return await asyncio.to_thread(self._fetch)

    async def close(self) -> None:
        """Stop the camera."""
        await asyncio.to_thread(self._release)

    def _fetch(self) -> bytes:
        try:
            if self._acquirer is None:
                self._open()
            while (stale := self._acquirer.try_fetch(timeout=0)) is not None:
                stale.queue()
            with self._acquirer.fetch(timeout=self._config.frame_timeout_ms / 1000) as buffer:
                component = buffer.payload.components[0]
                channels = _CHANNELS.get(component.data_format)
                if channels is None:
                    raise CaptureFailed(f"the camera sends {component.data_format}: set it to {', '.join(_CHANNELS)}")
                shape = (component.height, component.width, channels)
                frame = component.data.reshape(shape).copy()
                data = encode_png(frame)
                self.error, self.frame = "", Frame(frame)
                return data
        except CaptureFailed as error:
            self.error = str(error)
            raise
        except Exception as error:  # producers raise exceptions of any type
            self._release()
            self.error = f"{type(error).__name__}: {error}"
            raise CaptureFailed(self.error) from error

    def _open(self) -> None:
        if not self._config.producer.is_file():
            raise CaptureFailed(f"there is no GenTL producer at {self._config.producer}")
        try:
            from harvesters.core import Harvester  # an extra: it has no wheels for some Python versions
        except ImportError as error:
            raise CaptureFailed("install touchstone-line-agent[genicam]") from error
        self._harvester = Harvester()
        self._harvester.add_file(str(self._config.producer), check_existence=True)
        self._harvester.update()
        self._acquirer = self._harvester.create(self._config.search or 0)
        self._acquirer.start()

    def _release(self) -> None:
        if self._acquirer is not None:
            self._acquirer.destroy()
        if self._harvester is not None:
            self._harvester.reset()
        self._acquirer = self._harvester = None
