"""Reports a station's state to the service, beside its parts and without ever delaying one."""

from __future__ import annotations

import asyncio

from touchstone_client import AsyncClient
from touchstone_line_agent.failure_log import FailureLog
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.station import Station

_REPORT_INTERVAL_S = 3.0  # the service calls a station silent after 12 s
_CHECK_INTERVAL_S = 0.5  # for errors that appear or end


class StationReporter:
    """Reports every three seconds, and when an error appears or ends.

    client: of its own connections, so that no part waits for one of them; makes one attempt. watched: set while the
    service says that somebody watches the station.
    """

    def __init__(self, station: Station, watched: asyncio.Event, client: AsyncClient, metrics: Metrics) -> None:
        self._station = station
        self._watched = watched
        self._client = client
        name = station.name
        what = f"{name}: its state cannot be reported to the service"
        self._failures = FailureLog(what, metrics.report_failures.labels(name))

    async def run(self) -> None:
        """Report until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due, errors = loop.time() + _REPORT_INTERVAL_S, self._station.errors
            await self._report()
            while loop.time() < due and self._station.errors == errors:
                await asyncio.sleep(_CHECK_INTERVAL_S)

    async def _report(self) -> None:
        try:
            reported = await self._client.report_station(self._station.name, self._station.snapshot())
        except Exception as error:  # whatever it is, the station's other tasks go on
            self._failures.failed(error)
            self._watched.clear()
        else:
            self._failures.succeeded()
            (self._watched.set if reported.watched else self._watched.clear)()
