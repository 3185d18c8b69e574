"""A reject gate on Modbus/TCP."""

from __future__ import annotations

import asyncio
import contextlib

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from touchstone_line_agent.config import ModbusSink
from touchstone_line_agent.parts import Decided, Part
from touchstone_line_agent.sinks import SinkFailed

_TIMEOUT_S = 1.0
_BEAT_S = 0.5


class ModbusGate:
    """Writes the reject coil, then the part's sequence number, so that a PLC that sees the number may read the coil.

    The heartbeat register counts up twice a second for as long as the agent lives and reaches the PLC.
    """

    def __init__(self, config: ModbusSink) -> None:
        self._config = config
        self._client = AsyncModbusTcpClient(config.host, port=config.port, timeout=_TIMEOUT_S, retries=0)
        self._one_at_a_time = asyncio.Lock()
        self._beats = asyncio.create_task(self._beat()) if config.heartbeat_register is not None else None
        self.name = f"modbus:{config.host}:{config.port}/{config.reject_coil}"

    async def signal(self, part: Part, decided: Decided) -> None:
        """Set the coil and the register. SinkFailed."""
        await self._write(coil=decided.decision == "reject")
        if self._config.sequence_register is not None:
            await self._write(register=self._config.sequence_register, value=part.sequence & 0xFFFF)

    async def rest(self, decided: Decided) -> None:
        """Set the coil. SinkFailed."""
        await self._write(coil=decided.decision == "reject")

    async def close(self) -> None:
        """Stop the heartbeat and close the connection."""
        if self._beats is not None:
            self._beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beats
        self._client.close()

    async def _write(self, *, coil: bool | None = None, register: int | None = None, value: int = 0) -> None:
        unit = self._config.unit
        async with self._one_at_a_time:
            try:
                if not self._client.connected and not await self._client.connect():
                    raise SinkFailed(f"{self.name}: no connection")
                if register is not None:
                    answer = await self._client.write_register(register, value, device_id=unit)
                else:
                    answer = await self._client.write_coil(self._config.reject_coil, bool(coil), device_id=unit)
            except (ModbusException, OSError) as error:
                self._client.close()
                raise SinkFailed(f"{self.name}: {error}") from error
        if answer.isError():
            raise SinkFailed(f"{self.name}: {answer}")

    async def _beat(self) -> None:
        count = 0
        while True:
            count = (count + 1) & 0xFFFF
            with contextlib.suppress(SinkFailed):  # that it stands still is what the PLC looks for
                await self._write(register=self._config.heartbeat_register, value=count)
            await asyncio.sleep(_BEAT_S)
