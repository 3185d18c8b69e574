"""PostgreSQL connections that time out when the server is silent."""

from __future__ import annotations

import math
import time
from typing import Any

import psycopg
from psycopg.waiting import Ready

from indexer.catalogue.timeouts import patience, silence


class Connection(psycopg.Connection[Any]):
    """Raises OperationalError, and is unusable from then on, when the server has sent nothing for `silence` seconds.

    TCP detects a dead machine, but neither a frozen server nor a proxy that accepts data without forwarding it.
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
    """The server did not respond in time."""


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
