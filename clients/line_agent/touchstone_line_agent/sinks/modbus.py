"""Controls a reject gate over Modbus/TCP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from touchstone_line_agent.config import ModbusSink
from touchstone_line_agent.part import GateDecision, Part
from touchstone_line_agent.sinks.base import SinkFailed

log = logging.getLogger("touchstone.line_agent")

_TIMEOUT_S = 0.5  # for a connection, and for each response
_HEARTBEAT_INTERVAL_S = 0.5
# A PLC that loses power closes no connection: TCP probes it every second and gives up after three.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3}


class ModbusGate:
    """Writes the reject coil, then the part's sequence number: when the PLC sees the number, the coil is valid.

    The heartbeat register counts up twice a second while the agent runs and reaches the PLC. A connection that the PLC
    closes is noticed at once. Writes are idempotent.
    """

    def __init__(self, config: ModbusSink) -> None:
        self._config = config
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        has_heartbeat = config.heartbeat_register is not None
        self._heartbeat = asyncio.create_task(self._send_heartbeats()) if has_heartbeat else None
        self.name = f"modbus:{config.host}:{config.port}/{config.reject_coil}"

    async def connect(self) -> None:
        """Connect if there is no connection. SinkFailed."""
        async with self._lock:
            await self._connected()

    async def send(self, part: Part, decision: GateDecision) -> None:
        """Write the coil and the register. SinkFailed."""
        await self._write(coil=decision.decision == "reject")
        if self._config.sequence_register is not None:
            await self._write(register=self._config.sequence_register, value=part.sequence & 0xFFFF)

    async def set_safe(self, decision: GateDecision) -> None:
        """Write the coil. SinkFailed."""
        await self._write(coil=decision.decision == "reject")

    async def close(self) -> None:
        """Stop the heartbeat and disconnect."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._heartbeat
        self._disconnect()

    async def _write(self, *, coil: bool | None = None, register: int | None = None, value: int = 0) -> None:
        unit = self._config.unit
        async with self._lock:
            connection = await self._connected()
            client = connection.client
            try:
                if register is not None:
                    request = client.write_register(register, value, device_id=unit)
                else:
                    request = client.write_coil(self._config.reject_coil, bool(coil), device_id=unit)
                response = await connection.response(request)
            except BaseException as error:  # also on cancellation: a late response must not answer the next request
                self._disconnect()
                if isinstance(error, ModbusException | OSError):
                    raise SinkFailed(f"{self.name}: {error}") from error
                raise
        if response.isError():
            raise SinkFailed(f"{self.name}: {response}")

    async def _connected(self) -> _Connection:
        if self._connection is None or self._connection.lost.is_set():
            self._disconnect()
            connection = _Connection(self._config)
            try:
                await connection.open()
            except (ModbusException, OSError) as error:
                connection.client.close()
                raise SinkFailed(f"{self.name}: {error}") from error
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.client.close()
            self._connection = None

    async def _send_heartbeats(self) -> None:
        count = 0
        while True:
            count = (count + 1) & 0xFFFF
            try:
                await self._write(register=self._config.heartbeat_register, value=count)
            except SinkFailed:
                pass  # the PLC notices that the register does not change
            except Exception:  # a heartbeat that ends would stop the line for good
                log.exception("%s: the heartbeat: unexpected", self.name)
            await asyncio.sleep(_HEARTBEAT_INTERVAL_S)


class _Connection:
    """One TCP connection. lost: set as soon as it is closed or broken."""

    def __init__(self, config: ModbusSink) -> None:
        self.lost = asyncio.Event()
        self.client = AsyncModbusTcpClient(
            config.host, port=config.port, timeout=_TIMEOUT_S, retries=0, reconnect_delay=0, trace_connect=self._trace
        )

    async def response(self, request: Awaitable[ModbusPDU]) -> ModbusPDU:
        """The response to a request. ConnectionError as soon as the connection is lost; ModbusException."""
        responding, losing = asyncio.ensure_future(request), asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait((responding, losing), return_when=asyncio.FIRST_COMPLETED)
            if not responding.done():
                raise ConnectionError("the connection was closed")
            return responding.result()
        finally:
            responding.cancel()
            losing.cancel()

    async def open(self) -> None:
        """Connect, and let TCP detect a peer that disappears without closing. ConnectionError, ModbusException."""
        if not await self.client.connect():
            raise ConnectionError("no connection")
        transport = self.client.ctx.transport
        if transport is None:
            raise ConnectionError("the connection was closed")
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def _trace(self, connected: bool) -> None:
        if not connected:
            self.lost.set()
