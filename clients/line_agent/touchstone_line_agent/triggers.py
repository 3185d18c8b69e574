"""What makes a station's camera take a picture, other than HTTP."""

from __future__ import annotations

import asyncio
import json
import logging

from touchstone_line_agent.broker import Broker
from touchstone_line_agent.config import IntervalTrigger, MqttTrigger
from touchstone_line_agent.station import Station

_LOOK_S = 0.2

log = logging.getLogger("touchstone.line_agent")


async def trigger(station: Station) -> None:
    """Trigger a station as its table says, until cancelled."""
    match station.settings.trigger:
        case MqttTrigger() as given:
            await _by_mqtt(station, given)
        case IntervalTrigger() as given:
            while True:
                _begin(station, None)
                await asyncio.sleep(given.ms / 1000)


async def _by_mqtt(station: Station, given: MqttTrigger) -> None:
    loop = asyncio.get_running_loop()

    def heard(payload: bytes) -> None:
        loop.call_soon_threadsafe(_begin, station, part_id(payload))

    broker = Broker(given.host, given.port, given.topic, heard)
    try:
        while True:
            station.report("trigger", broker.trouble)
            await asyncio.sleep(_LOOK_S)
    finally:
        await broker.close()


def part_id(payload: bytes) -> str | None:
    """The part's id in a trigger message: JSON with `part_id`, or the plain text; None when there is none."""
    text = payload.decode("utf-8", "replace").strip()
    try:
        given = json.loads(text)
    except ValueError:
        given = text
    if isinstance(given, dict):
        given = given.get("part_id")
    return str(given)[:128] if given not in (None, "") else None


_under_way: set[asyncio.Task[object]] = set()  # the loop itself would not keep them


def _begin(station: Station, given: str | None) -> None:
    task: asyncio.Task[object] = asyncio.create_task(station.trigger(given))
    _under_way.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[object]) -> None:
    _under_way.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a trigger failed", exc_info=error)
