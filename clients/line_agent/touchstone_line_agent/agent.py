"""Assembles the agent's parts and runs them until a signal stops the process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from touchstone_client import NO_RETRIES, AsyncClient, Retries, Timeouts
from touchstone_client.api_key import read_api_key
from touchstone_line_agent.config import Config
from touchstone_line_agent.frame_sender import FrameSender
from touchstone_line_agent.http_server import HttpServer
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part_store import PartStore
from touchstone_line_agent.reporter import StationReporter
from touchstone_line_agent.station import Station
from touchstone_line_agent.triggers import run_trigger

log = logging.getLogger("touchstone.line_agent")

_CONNECT_TIMEOUT_S = 2.0
_RECOVERY_RETRY_S = 1.0
_REPORT_TIMEOUTS = Timeouts(_CONNECT_TIMEOUT_S, 5.0, 5.0, 5.0)
_RETRIES_UNTIL_DEADLINE = Retries(max_attempts=100_000, initial_wait=0.05, max_wait=0.5)


async def run(config: Config) -> None:
    """Run every station until SIGTERM or SIGINT. OSError, StoreUnusable, sqlite3.Error when the agent cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    # Cameras block a thread while they wait for a frame: the default pool, sized by CPUs, would make stations wait.
    loop.set_default_executor(ThreadPoolExecutor(8 * len(config.station) + 8))
    url, key_file, timeout = config.service.url, config.service.key_file, config.service.timeout_s
    api_key = None if key_file is None else read_api_key(key_file)
    timeouts = Timeouts(_CONNECT_TIMEOUT_S, timeout, timeout)
    async with contextlib.AsyncExitStack() as stack:
        parts = PartStore(config.queue.path, config.queue.max_images, config.queue.max_bytes)
        stack.callback(parts.close)
        deadline_client = AsyncClient(url, api_key=api_key, timeouts=timeouts, retries=_RETRIES_UNTIL_DEADLINE)
        backlog_client = AsyncClient(url, api_key=api_key, timeouts=timeouts, retries=NO_RETRIES)
        report_client = AsyncClient(url, api_key=api_key, timeouts=_REPORT_TIMEOUTS, retries=NO_RETRIES)
        for client in (deadline_client, backlog_client, report_client):
            await stack.enter_async_context(client)
        metrics = Metrics()
        stations = {
            settings.name: Station(settings, parts, deadline_client, backlog_client, metrics)
            for settings in config.station
        }
        server = HttpServer(config.health, stations, parts, metrics, loop)
        stack.callback(server.close)
        log.info("%d stations, health on http://%s:%d/healthz", len(stations), config.health.host, server.port)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_recover(parts, list(stations)))]
            tasks += [group.create_task(station.run()) for station in stations.values()]
            tasks += [group.create_task(run_trigger(station)) for station in stations.values()]
            for station in stations.values():
                watched = asyncio.Event()
                tasks.append(group.create_task(StationReporter(station, watched, report_client, metrics).run()))
                tasks.append(group.create_task(FrameSender(station, watched, report_client, metrics).run()))
            await stop.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()


async def _recover(parts: PartStore, stations: Sequence[str]) -> None:
    """Complete what an earlier run left undecided, once the disk has space for it: gates need not wait for that."""
    while True:
        try:
            missed = await asyncio.to_thread(parts.recover, stations)
        except sqlite3.OperationalError:  # which the stations report as they meet it
            await asyncio.sleep(_RECOVERY_RETRY_S)
        else:
            break
    if missed:
        log.warning("%d parts were undecided when the agent last ended; they are inspected now", missed)
