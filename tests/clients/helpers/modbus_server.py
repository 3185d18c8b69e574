"""A Modbus/TCP server that prints each write: `python modbus_server.py PORT`."""

from __future__ import annotations

import asyncio
import sys

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import WriteSingleCoilRequest
from pymodbus.pdu.register_message import WriteSingleRegisterRequest
from pymodbus.server import StartAsyncTcpServer


def print_write(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
    """Print a write request."""
    if not sending and isinstance(pdu, WriteSingleCoilRequest):
        print(f"coil {pdu.address} {int(pdu.bits[0])}", flush=True)
    if not sending and isinstance(pdu, WriteSingleRegisterRequest):
        print(f"register {pdu.address} {pdu.registers[0]}", flush=True)
    return pdu


async def main() -> None:
    """Serve until killed."""
    block = ModbusSequentialDataBlock
    device = ModbusDeviceContext(co=block(1, [False] * 16), hr=block(1, [0] * 16))
    context = ModbusServerContext(devices=device, single=True)
    await StartAsyncTcpServer(context, address=("127.0.0.1", int(sys.argv[1])), trace_pdu=print_write)


if __name__ == "__main__":
    asyncio.run(main())
