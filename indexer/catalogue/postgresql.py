"""The catalogue in PostgreSQL: how connections are opened, the advisory locks of writers and migrations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select

from indexer.catalogue.timeouts import Patience, milliseconds, patience, within

# Advisory locks, 64-bit numbers that every process of a database agrees on.
_WRITERS_LOCK = 0x746F756368
_MIGRATION_LOCK = 0x746F756369

# A database that is gone is noticed within seconds, also when the network swallows what is sent to it.
_TIMEOUTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def create(url: URL) -> Engine:
    """An engine whose connections time out when the server is silent, or another process keeps a lock."""
    defaults = {**_TIMEOUTS, "options": f"-c lock_timeout={milliseconds(Patience().lock)}"}
    options = {key: value for key, value in defaults.items() if key not in url.query}
    engine = create_engine(url, pool_pre_ping=True, max_overflow=-1, connect_args=options)
    event.listen(engine, "do_connect", _open)
    return engine


def lock_writers(connection: Connection) -> None:
    """Wait until no other transaction writes, and keep others waiting until this one ends."""
    current = patience.get()
    if current.lock != Patience().lock:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds(current.lock)}")
    with within(current.lock + current.answer):
        connection.execute(select(func.pg_advisory_xact_lock(_WRITERS_LOCK)))


def lock_migrations(connection: Connection) -> None:
    """Wait until no other transaction migrates, and keep others waiting until this one ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


def _open(_dialect: object, _record: object, args: Any, options: dict[str, Any]) -> Any:
    from indexer.catalogue.postgresql_connection import open_connection  # with SQLite, nothing of psycopg is loaded

    return open_connection(*args, **options)
