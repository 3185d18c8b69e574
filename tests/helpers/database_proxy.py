"""A TCP proxy before a PostgreSQL server that cuts connections at a chosen moment, or swallows what is sent."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Literal

from sqlalchemy import make_url

_COMMIT = b"COMMIT\x00"
_PIECE = 1 << 16

Cut = Literal["before", "after"]


class DatabaseProxy:
    """Forwards connections of 127.0.0.1 to the socket of the server that a url names; `url` leads through it."""

    def __init__(self, url: str) -> None:
        behind = make_url(url)
        self._server = f"{behind.query['host']}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{behind.username}@127.0.0.1:{port}/{behind.database}"
        self.cuts = 0
        self._cut: tuple[bytes, Cut] | None = None
        self._refusing = False
        self._refuses_after_cut = False
        self._swallowing = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> DatabaseProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for pair in self._pairs:
            _end(*pair)

    def cut_commit(self, statement: bytes, moment: Cut, *, and_stay_away: bool = False) -> None:
        """Cut the next connection that commits a transaction with this statement.

        moment: before the server has the commit, or after it has happened and before the client knows. and_stay_away:
        refuse every connection from then on, until `come_back`.
        """
        self._refuses_after_cut = and_stay_away
        self._cut = (statement, moment)

    def come_back(self) -> None:
        """Forward everything again."""
        self._refusing = False

    def swallow(self) -> None:
        """Become a black hole: connections stay open, new ones are taken, and nothing is forwarded any more."""
        self._swallowing = True

    def flow(self) -> None:
        """Forward new connections again; those that were open stay silent, as what was sent on them is lost."""
        self._swallowing = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        self._pairs.append((client, server))
        try:
            server.connect(self._server)
        except OSError:
            _end(client, server)
            return
        losing = threading.Event()
        threading.Thread(target=self._answer, args=(client, server, losing), daemon=True).start()
        seen, lost = b"", False
        with contextlib.suppress(OSError):
            while data := client.recv(_PIECE):
                lost = lost or self._swallowing
                if lost:
                    continue
                seen += data
                if _COMMIT in data:
                    moment = self._chosen(seen)
                    seen = b""
                    if moment == "before":
                        break
                    if moment == "after":
                        losing.set()
                server.sendall(data)
        _end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_PIECE):
                if losing.is_set():
                    break
                if not self._swallowing:
                    client.sendall(data)
        _end(client, server)

    def _chosen(self, seen: bytes) -> Cut | None:
        with self._lock:
            if self._cut is None or self._cut[0] not in seen:
                return None
            moment = self._cut[1]
            self._cut = None
            self.cuts += 1
            self._refusing = self._refuses_after_cut
            return moment


def _end(*sockets: socket.socket) -> None:
    for connection in sockets:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
