"""PostgreSQL connections that time out when the server is silent."""

from __future__ import annotations

import math
import time
from typing import Any

import psycopg
from psycopg.waiting import Ready

from indexer.catalogue.timeouts import patience, silence


class Connection(psycopg.Connection[Any]):
    """Raises OperationalError, and is broken from then on, once the server has been silent for `silence` seconds.

    The kernel notices a machine that is gone. It does not notice a server that is frozen, nor a proxy that takes what
    is sent and passes nothing on.
    """

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Run an exchange with the server to its end: every statement, commit and rollback comes here."""
        try:
            return super().wait(_attended(gen, silence.get()), *args, **options)
        except _Silent:
            self.pgconn.finish()
            raise


def open_connection(*args: Any, **options: Any) -> Connection:
    """As `psycopg.connect`, but for the class, and in no more time than the caller has for an answer."""
    options["connect_timeout"] = min(int(options["connect_timeout"]), max(1, math.ceil(patience.get().answer)))
    return Connection.connect(*args, **options)


class _Silent(psycopg.OperationalError):
    """The server has said nothing for too long."""


def _attended(exchange: Any, seconds: float) -> Any:
    """The same exchange, ended with _Silent once nothing has happened for so long."""
    heard = time.monotonic()
    try:
        state = next(exchange)
        while True:
            ready = yield state
            if ready != Ready.NONE:
                heard = time.monotonic()
            elif time.monotonic() - heard > seconds:
                raise _Silent(f"no answer within {seconds:g} s")
            state = exchange.send(ready)
    except StopIteration as end:
        return end.value
