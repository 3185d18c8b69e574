"""A TCP gateway before a machine, which loses connections in every way that plants' networks do."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

_LOOK_S = 0.02


class Gateway:
    """Forwards bytes both ways. idle_s: a connection over which nothing went for so long is closed.

    reset: connections are closed with RST, else with FIN. hang_up: so many times, what a client sends is not forwarded
    and its connection closed instead.
    """

    def __init__(self, target: int, idle_s: float | None = None, *, reset: bool = False, hang_up: int = 0) -> None:
        self.idle_s = idle_s
        self.reset = reset
        self.hang_up = hang_up
        self.connections = 0
        self._target = target
        self._ending = threading.Event()
        self._silent_before = 0.0
        self._stalled = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Gateway:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def go_silent(self) -> None:
        """Of what is sent over the connections that there are, nothing arrives from now on, and nobody is told."""
        self._silent_before = time.monotonic()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Connections are taken and nothing is forwarded, in either direction."""
        self._stalled.set()
        yield
        self._stalled.clear()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._forward, args=(client,)))
            self._threads[-1].start()

    def _forward(self, client: socket.socket) -> None:
        begun = last = time.monotonic()
        try:
            machine = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        other = {client: machine, machine: client}
        with client, machine:
            while not self._ending.is_set():
                if begun < self._silent_before or self._stalled.is_set():
                    time.sleep(_LOOK_S)
                    continue
                for ready in select.select(list(other), [], [], _LOOK_S)[0]:
                    try:
                        data = ready.recv(65536)
                        if ready is client and data and self.hang_up > 0:
                            self.hang_up -= 1
                            return self._close(client)
                        if not data:
                            return
                        other[ready].sendall(data)
                    except OSError:
                        return
                    last = time.monotonic()
                if self.idle_s is not None and time.monotonic() - last > self.idle_s:
                    return self._close(client)

    def _close(self, client: socket.socket) -> None:
        if self.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
