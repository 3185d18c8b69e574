"""Sends a station's latest frames to the service while somebody watches, beside its parts and without delaying one."""

from __future__ import annotations

import asyncio
import logging
import time

from touchstone_client import AsyncClient
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.sources import Frame
from touchstone_line_agent.sources.frame_encoding import encode_jpeg
from touchstone_line_agent.station import Station

log = logging.getLogger("touchstone.line_agent")

_INTERVAL_S = 0.5


class FrameSender:
    """Sends each new frame, at most two a second and one at a time: on a slow network there are fewer.

    watched: set while the service says that somebody watches. client: makes one attempt.
    """

    def __init__(self, station: Station, watched: asyncio.Event, client: AsyncClient, metrics: Metrics) -> None:
        self._station = station
        self._watched = watched
        self._client = client
        self._metrics = metrics
        self._logged_error = ""

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
            answer = await self._client.send_station_frame(name, data, age_s=time.monotonic() - frame.taken_at)
        except Exception as error:  # whatever it is, the station's other tasks go on
            self._report(f"{type(error).__name__}: {error}")
            return False
        self._logged_error = ""
        if not answer.watched:
            self._watched.clear()
        return True

    def _report(self, error: str) -> None:
        self._metrics.frame_failures.labels(self._station.name).inc()
        if error != self._logged_error:
            log.warning("%s: its camera's image cannot be sent to the service: %s", self._station.name, error)
        self._logged_error = error
