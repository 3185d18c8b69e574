"""A TCP gateway in front of a machine, which loses connections in the ways that plant networks do."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

_CHECK_INTERVAL_S = 0.02


class TcpGateway:
    """Forwards bytes in both directions.

    idle_s: close a connection after so long without traffic. reset: close with RST instead of FIN. hang_up: how many
    times to close a client's connection instead of forwarding what it sends.
    """

    def __init__(self, target: int, idle_s: float | None = None, *, reset: bool = False, hang_up: int = 0) -> None:
        self.idle_s = idle_s
        self.reset = reset
        self.hang_up = hang_up
        self.connections = 0
        self._target = target
        self._stopping = threading.Event()
        self._silent_before = 0.0
        self._stalled = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> TcpGateway:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def go_silent(self) -> None:
        """Silently drop everything sent over the present connections from now on."""
        self._silent_before = time.monotonic()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Accept connections and forward nothing."""
        self._stalled.set()
        yield
        self._stalled.clear()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._forward, args=(client,)))
            self._threads[-1].start()

    def _forward(self, client: socket.socket) -> None:
        started = last = time.monotonic()
        try:
            machine = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        peer = {client: machine, machine: client}
        with client, machine:
            while not self._stopping.is_set():
                if started < self._silent_before or self._stalled.is_set():
                    time.sleep(_CHECK_INTERVAL_S)
                    continue
                for ready in select.select(list(peer), [], [], _CHECK_INTERVAL_S)[0]:
                    try:
                        data = ready.recv(65536)
                        if ready is client and data and self.hang_up > 0:
                            self.hang_up -= 1
                            return self._close(client)
                        if not data:
                            return
                        peer[ready].sendall(data)
                    except OSError:
                        return
                    last = time.monotonic()
                if self.idle_s is not None and time.monotonic() - last > self.idle_s:
                    return self._close(client)

    def _close(self, client: socket.socket) -> None:
        if self.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
