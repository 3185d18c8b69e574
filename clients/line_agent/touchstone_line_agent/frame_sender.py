"""Sends a station's latest frames to the service while somebody watches, beside its parts and without delaying one."""

from __future__ import annotations

import asyncio
import time

from touchstone_client import AsyncClient
from touchstone_line_agent.failure_log import FailureLog
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.sources import Frame
from touchstone_line_agent.sources.frame_encoding import encode_jpeg
from touchstone_line_agent.station import Station

_INTERVAL_S = 0.5


class FrameSender:
    """Sends each new frame, at most two a second and one at a time: on a slow network there are fewer.

    watched: set while the service says that somebody watches. client: makes one attempt.
    """

    def __init__(self, station: Station, watched: asyncio.Event, client: AsyncClient, metrics: Metrics) -> None:
        self._station = station
        self._watched = watched
        self._client = client
        name = station.name
        what = f"{name}: its camera's image cannot be sent to the service"
        self._failures = FailureLog(what, metrics.frame_failures.labels(name))

    async def run(self) -> None:
        """Send until cancelled. Returns at once for a station that sends no frames."""
        source = self._station.frame_source
        if source is None:
            return
        loop = asyncio.get_running_loop()
        sent: Frame | None = None
        while True:
            if not self._watched.is_set():
                sent = None  # the service deletes what nobody watches
                await self._watched.wait()
            due, frame = loop.time() + _INTERVAL_S, source.frame
            if frame is not None and frame is not sent and await self._send(frame):
                sent = frame
            await asyncio.sleep(due - loop.time())

    async def _send(self, frame: Frame) -> bool:
        """Whether the service has received it."""
        name, bit_depth = self._station.name, self._station.settings.bit_depth or 16
        try:
            data = await asyncio.to_thread(encode_jpeg, frame.values, bit_depth)
            response = await self._client.send_station_frame(name, data, age_s=time.monotonic() - frame.taken_at)
        except Exception as error:  # whatever it is, the station's other tasks go on
            self._failures.failed(error)
            return False
        self._failures.succeeded()
        if not response.watched:
            self._watched.clear()
        return True
