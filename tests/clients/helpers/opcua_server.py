"""An OPC UA server with a gate's two variables, which prints each write: `python opcua_server.py PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from asyncua import Server, ua


class Printer:
    """Prints changes."""

    def datachange_notification(self, node: Any, value: object, data: Any) -> None:
        """Called by the server's own subscription."""
        print(f"{node.nodeid.Identifier} {value}", flush=True)


async def main() -> None:
    """Serve until killed."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{sys.argv[1]}")
    gate = await server.nodes.objects.add_object(ua.NodeId("Gate", 2), "Gate")
    reject = await gate.add_variable(ua.NodeId("Reject", 2), "Reject", False, ua.VariantType.Boolean)
    part = await gate.add_variable(ua.NodeId("Part", 2), "Part", "", ua.VariantType.String)
    for variable in (reject, part):
        await variable.set_writable()
    async with server:
        subscription = await server.create_subscription(1, Printer())
        await subscription.subscribe_data_change([part], queuesize=1000)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
