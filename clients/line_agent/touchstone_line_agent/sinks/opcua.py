"""Writes decisions to OPC UA variables."""

from __future__ import annotations

import asyncio
import contextlib

from asyncua import ua
from asyncua.client.client import Client

from touchstone_line_agent.config import OpcuaSink
from touchstone_line_agent.part import GateDecision, Part
from touchstone_line_agent.sinks.base import SinkFailed

_CONNECT_TIMEOUT_S = 2.0
_WRITE_TIMEOUT_S = 0.5
_SESSION_TIMEOUT_MS = 30_000  # after which the server drops a session that was not closed


class OpcuaGate:
    """Writes the part's key, then whether to reject it. Writes are idempotent.

    asyncua checks the server every second, so that a session that has ended is noticed before the next part.
    """

    def __init__(self, config: OpcuaSink) -> None:
        self._config = config
        self._client: Client | None = None
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self.name = f"opcua:{config.url}/{config.reject_node}"

    async def connect(self) -> None:
        """Open a session if there is none. SinkFailed."""
        await self._write({})

    async def send(self, part: Part, decision: GateDecision) -> None:
        """Write both variables. SinkFailed."""
        values: dict[str, bool | str] = {}
        if self._config.part_node is not None:
            values[self._config.part_node] = part.key
        await self._write({**values, self._config.reject_node: decision.decision == "reject"})

    async def set_safe(self, decision: GateDecision) -> None:
        """Write whether to reject. SinkFailed."""
        await self._write({self._config.reject_node: decision.decision == "reject"})

    async def close(self) -> None:
        """Close the session."""
        self._disconnect()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _write(self, values: dict[str, bool | str]) -> None:
        async with self._lock:
            try:
                client = await self._session()
                async with asyncio.timeout(_WRITE_TIMEOUT_S):
                    for node, value in values.items():
                        kind = ua.VariantType.Boolean if isinstance(value, bool) else ua.VariantType.String
                        await client.get_node(node).write_value(ua.DataValue(ua.Variant(value, kind)))
            except asyncio.CancelledError:
                self._disconnect()
                raise
            except Exception as error:  # asyncua raises its own, asyncio's and the socket's errors
                self._disconnect()
                raise SinkFailed(f"{self.name}: {error or type(error).__name__}") from error

    async def _session(self) -> Client:
        if self._client is not None:
            with contextlib.suppress(ConnectionError):
                await self._client.check_connection()
                return self._client
            self._disconnect()
        self._client = client = Client(self._config.url, timeout=_CONNECT_TIMEOUT_S)
        client.session_timeout = _SESSION_TIMEOUT_MS
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await client.connect()
        return client

    def _disconnect(self) -> None:
        """Close the session without waiting: the server may be gone, and the next session is needed now."""
        if self._client is not None:
            task = asyncio.create_task(_disconnect(self._client))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._client = None


async def _disconnect(client: Client) -> None:
    with contextlib.suppress(Exception):  # the server may be gone already
        await client.disconnect()
