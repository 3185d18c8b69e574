"""Puts the agent together and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from concurrent.futures import ThreadPoolExecutor

from touchstone_client import NO_RETRIES, AsyncClient, Retries, Timeouts
from touchstone_client.api_key import read_api_key
from touchstone_line_agent.config import Config
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Parts
from touchstone_line_agent.station import Station
from touchstone_line_agent.triggers import trigger
from touchstone_line_agent.web import Web

log = logging.getLogger("touchstone.line_agent")

_CONNECT_S = 2.0
_SOON_AND_OFTEN = Retries(max_attempts=100_000, initial_wait=0.05, max_wait=0.5)  # the part's deadline ends it


async def run(config: Config) -> None:
    """Run every station until SIGTERM or SIGINT. OSError, sqlite3.Error when the agent cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    # A camera waits on a thread for its frame: with one for each CPU, some stations' waits would be the others'.
    loop.set_default_executor(ThreadPoolExecutor(8 * len(config.station) + 8))
    key = None if config.service.key_file is None else read_api_key(config.service.key_file)
    timeouts = Timeouts(_CONNECT_S, config.service.timeout_s, config.service.timeout_s)
    async with contextlib.AsyncExitStack() as ending:
        parts = Parts(config.queue.path, config.queue.most_pictures, config.queue.most_bytes)
        ending.callback(parts.close)
        missed = parts.recover([station.name for station in config.station])
        if missed:
            log.warning("%d parts were not decided on before the agent ended; they are inspected now", missed)
        url = config.service.url
        quick = await ending.enter_async_context(
            AsyncClient(url, api_key=key, timeouts=timeouts, retries=_SOON_AND_OFTEN)
        )
        patient = await ending.enter_async_context(AsyncClient(url, api_key=key, timeouts=timeouts, retries=NO_RETRIES))
        metrics = Metrics()
        stations = {each.name: Station(each, parts, quick, patient, metrics) for each in config.station}
        web = Web(config.health, stations, parts, metrics, loop)
        ending.callback(web.close)
        log.info("%d stations, health on http://%s:%d/healthz", len(stations), config.health.host, web.port)
        async with asyncio.TaskGroup() as tasks:
            working = [tasks.create_task(station.run()) for station in stations.values()]
            working += [tasks.create_task(trigger(station)) for station in stations.values()]
            await stop.wait()
            log.info("stopping")
            for task in working:
                task.cancel()
