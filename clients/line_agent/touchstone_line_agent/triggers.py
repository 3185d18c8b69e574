"""What makes a station's camera take a picture, other than HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

from touchstone_line_agent.broker import Broker
from touchstone_line_agent.config import IntervalTrigger, MqttTrigger
from touchstone_line_agent.station import Station

_LOOK_S = 0.2
_LONGEST_MESSAGE = 64 << 10  # of which an id is looked for

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
    """The part's id in a trigger message: `part_id` of a JSON object, a JSON string, or the plain text.

    A number stays as it is written: 12E4711 and 1.200 are ids, not quantities. None when there is no id.
    """
    text = payload[:_LONGEST_MESSAGE].decode("utf-8-sig", "replace").strip()
    given: object = text
    if text.startswith(("{", '"')):
        with contextlib.suppress(ValueError, RecursionError):  # else it only looks like JSON
            given = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    if isinstance(given, dict):
        given = given.get("part_id")
    if given is not None and not isinstance(given, str):
        log.warning("a trigger's part_id is neither text nor a number: the part is given a name of its own")
        return None
    return given or None


_under_way: set[asyncio.Task[object]] = set()  # the loop itself would not keep them


def _begin(station: Station, given: str | None) -> None:
    task: asyncio.Task[object] = asyncio.create_task(station.trigger(given))
    _under_way.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[object]) -> None:
    _under_way.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a trigger failed", exc_info=error)
