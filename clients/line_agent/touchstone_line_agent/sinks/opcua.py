"""Decisions as OPC UA variables."""

from __future__ import annotations

import asyncio
import contextlib

from asyncua import ua
from asyncua.client.client import Client

from touchstone_line_agent.config import OpcuaSink
from touchstone_line_agent.parts import Decided, Part
from touchstone_line_agent.sinks import SinkFailed

_TIMEOUT_S = 2.0


class OpcuaGate:
    """Writes the part's key, then whether to reject it. The session opens at the first write, and after a failure."""

    def __init__(self, config: OpcuaSink) -> None:
        self._config = config
        self._client: Client | None = None
        self._one_at_a_time = asyncio.Lock()
        self.name = f"opcua:{config.url}/{config.reject_node}"

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
        if self._client is not None:
            with contextlib.suppress(Exception):  # the server may have gone first
                await self._client.disconnect()

    async def _write(self, values: dict[str, bool | str]) -> None:
        async with self._one_at_a_time:
            try:
                if self._client is None:
                    client = Client(self._config.url, timeout=_TIMEOUT_S)
                    await client.connect()
                    self._client = client
                for node, value in values.items():
                    kind = ua.VariantType.Boolean if isinstance(value, bool) else ua.VariantType.String
                    await self._client.get_node(node).write_value(ua.DataValue(ua.Variant(value, kind)))
            except Exception as error:  # asyncua raises its own, asyncio's and the socket's errors
                await self.close()
                self._client = None
                raise SinkFailed(f"{self.name}: {error or type(error).__name__}") from error
