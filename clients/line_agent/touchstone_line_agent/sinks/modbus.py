"""A reject gate on Modbus/TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from touchstone_line_agent.config import ModbusSink
from touchstone_line_agent.parts import Decided, Part
from touchstone_line_agent.sinks import SinkFailed

_ANSWER_S = 0.5  # for a connection, and for each answer
_BEAT_S = 0.5
# A PLC that is switched off closes nothing: the system asks after it every second and gives up after three.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}


class ModbusGate:
    """Writes the reject coil, then the part's sequence number, so that a PLC that sees the number may read the coil.

    The heartbeat register counts up twice a second for as long as the agent lives and reaches the PLC. A connection
    that the PLC has closed is noticed at once; to write the same twice does no harm.
    """

    def __init__(self, config: ModbusSink) -> None:
        self._config = config
        self._connection: _Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._beats = asyncio.create_task(self._beat()) if config.heartbeat_register is not None else None
        self.name = f"modbus:{config.host}:{config.port}/{config.reject_coil}"

    async def connect(self) -> None:
        """Have a connection. SinkFailed."""
        async with self._one_at_a_time:
            await self._connected()

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
        self._drop()

    async def _write(self, *, coil: bool | None = None, register: int | None = None, value: int = 0) -> None:
        unit = self._config.unit
        async with self._one_at_a_time:
            connection = await self._connected()
            client = connection.client
            try:
                if register is not None:
                    answer = await connection.answer(client.write_register(register, value, device_id=unit))
                else:
                    answer = await connection.answer(
                        client.write_coil(self._config.reject_coil, bool(coil), device_id=unit)
                    )
            except BaseException as error:  # also cancelled: an answer that comes later belongs to no other request
                self._drop()
                if isinstance(error, ModbusException | OSError):
                    raise SinkFailed(f"{self.name}: {error}") from error
                raise
        if answer.isError():
            raise SinkFailed(f"{self.name}: {answer}")

    async def _connected(self) -> _Connection:
        if self._connection is None or self._connection.lost.is_set():
            self._drop()
            connection = _Connection(self._config)
            if not await connection.client.connect():
                raise SinkFailed(f"{self.name}: no connection")
            connection.keep_alive()
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.client.close()
            self._connection = None

    async def _beat(self) -> None:
        count = 0
        while True:
            count = (count + 1) & 0xFFFF
            with contextlib.suppress(SinkFailed):  # that it stands still is what the PLC looks for
                await self._write(register=self._config.heartbeat_register, value=count)
            await asyncio.sleep(_BEAT_S)


class _Connection:
    """One TCP connection, for as long as it lasts. lost: set as soon as it is closed or broken."""

    def __init__(self, config: ModbusSink) -> None:
        self.lost = asyncio.Event()
        self.client = AsyncModbusTcpClient(
            config.host, port=config.port, timeout=_ANSWER_S, retries=0, reconnect_delay=0, trace_connect=self._changed
        )

    async def answer(self, asked: Awaitable[ModbusPDU]) -> ModbusPDU:
        """What is answered. ConnectionError as soon as no answer can come any more; ModbusException."""
        answering, losing = asyncio.ensure_future(asked), asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait((answering, losing), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ConnectionError("the connection was closed")
            return answering.result()
        finally:
            answering.cancel()
            losing.cancel()

    def keep_alive(self) -> None:
        """Have the system find out when the other side has gone without a word."""
        found = self.client.ctx.transport.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def _changed(self, connected: bool) -> None:
        if not connected:
            self.lost.set()
