"""Triggers a station's camera by MQTT messages or at intervals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from touchstone_line_agent.config import IntervalTrigger, MqttTrigger
from touchstone_line_agent.mqtt_connection import MqttConnection
from touchstone_line_agent.station import Station, StationStopping

_CHECK_INTERVAL_S = 0.2
_MAX_MESSAGE_BYTES = 64 << 10  # searched for a part id

log = logging.getLogger("touchstone.line_agent")


async def run_trigger(station: Station) -> None:
    """Trigger a station as configured, until cancelled. Returns at once for a station without such a trigger."""
    match station.settings.trigger:
        case MqttTrigger() as trigger:
            await _run_mqtt(station, trigger)
        case IntervalTrigger() as trigger:
            while True:
                _start(station, None)
                await asyncio.sleep(trigger.interval_ms / 1000)


async def _run_mqtt(station: Station, trigger: MqttTrigger) -> None:
    loop = asyncio.get_running_loop()

    def on_message(payload: bytes) -> None:
        loop.call_soon_threadsafe(_start, station, parse_part_id(payload))

    connection = MqttConnection(trigger.host, trigger.port, trigger.topic, on_message)
    try:
        while True:
            station.report("trigger", connection.error)
            await asyncio.sleep(_CHECK_INTERVAL_S)
    finally:
        await connection.close()


def parse_part_id(payload: bytes) -> str | None:
    """The part id in a trigger message: `part_id` of a JSON object, a JSON string, or the plain text.

    A number keeps its notation: 12E4711 and 1.200 are ids, not quantities. None when there is no id.
    """
    text = payload[:_MAX_MESSAGE_BYTES].decode("utf-8-sig", "replace").strip()
    value: object = text
    if text.startswith(("{", '"')):
        with contextlib.suppress(ValueError, RecursionError):  # plain text that looks like JSON
            value = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    if isinstance(value, dict):
        value = value.get("part_id")
    if value is not None and not isinstance(value, str):
        log.warning("a trigger's part_id is neither a string nor a number: the part gets a generated id")
        return None
    return value or None


_tasks: set[asyncio.Task[object]] = set()  # the event loop itself holds only weak references


def _start(station: Station, part_id: str | None) -> None:
    task: asyncio.Task[object] = asyncio.create_task(station.trigger(part_id))
    _tasks.add(task)
    task.add_done_callback(_finish)


def _finish(task: asyncio.Task[object]) -> None:
    _tasks.discard(task)
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, StationStopping):
        log.warning("a trigger is ignored: %s", error)
    else:
        log.error("a trigger failed", exc_info=error)
