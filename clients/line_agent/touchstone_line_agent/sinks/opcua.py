"""Decisions as OPC UA variables."""

from __future__ import annotations

import asyncio
import contextlib

from asyncua import ua
from asyncua.client.client import Client

from touchstone_line_agent.config import OpcuaSink
from touchstone_line_agent.parts import Decided, Part
from touchstone_line_agent.sinks import SinkFailed

_CONNECT_S = 2.0
_ANSWER_S = 0.5
_SESSION_MS = 30_000  # after which a server forgets a session that ended without a word


class OpcuaGate:
    """Writes the part's key, then whether to reject it. To write the same twice does no harm.

    The library asks the server every second how it is, so that a session that has ended is known before it is needed.
    """

    def __init__(self, config: OpcuaSink) -> None:
        self._config = config
        self._client: Client | None = None
        self._one_at_a_time = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        self.name = f"opcua:{config.url}/{config.reject_node}"

    async def connect(self) -> None:
        """Have a session. SinkFailed."""
        await self._write({})

    async def signal(self, part: Part, decided: Decided) -> None:
        """Write both variables. SinkFailed."""
        values: dict[str, bool | str] = {}
        if self._config.part_node is not None:
            values[self._config.part_node] = part.key
        await self._write({**values, self._config.reject_node: decided.decision == "reject"})

    async def rest(self, decided: Decided) -> None:
        """Write whether to reject. SinkFailed."""
        await self._write({self._config.reject_node: decided.decision == "reject"})

    async def close(self) -> None:
        """End the session."""
        self._drop()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _write(self, values: dict[str, bool | str]) -> None:
        async with self._one_at_a_time:
            try:
                client = await self._session()
                async with asyncio.timeout(_ANSWER_S):
                    for node, value in values.items():
                        kind = ua.VariantType.Boolean if isinstance(value, bool) else ua.VariantType.String
                        await client.get_node(node).write_value(ua.DataValue(ua.Variant(value, kind)))
            except asyncio.CancelledError:
                self._drop()
                raise
            except Exception as error:  # asyncua raises its own, asyncio's and the socket's errors
                self._drop()
                raise SinkFailed(f"{self.name}: {error or type(error).__name__}") from error

    async def _session(self) -> Client:
        if self._client is not None:
            with contextlib.suppress(ConnectionError):
                await self._client.check_connection()
                return self._client
            self._drop()
        self._client = client = Client(self._config.url, timeout=_CONNECT_S)
        client.session_timeout = _SESSION_MS
        async with asyncio.timeout(_CONNECT_S):
            await client.connect()
        return client

    def _drop(self) -> None:
        """End a session without waiting for it: the server may be gone, and the next one is wanted now."""
        if self._client is not None:
            task = asyncio.create_task(_end(self._client))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self._client = None


async def _end(client: Client) -> None:
    with contextlib.suppress(Exception):  # the server may have gone first
        await client.disconnect()
