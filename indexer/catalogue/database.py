"""Connections to SQLite or PostgreSQL on which a commit is durable, and whose failures have names."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from indexer.catalogue.errors import CatalogueBusy
from indexer.store import StorageFull

_BUSY_SECONDS = 30
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
_POSTGRESQL_FULL = "53100"


def connect(url: str) -> Engine:
    """An engine for an SQLAlchemy url; its option `immediate` marks connections that write.

    ValueError for a SQLite database without a file.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, max_overflow=-1)
    if parsed.database is None or parsed.database in ("", ":memory:"):
        raise ValueError("the catalogue needs a database file")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, max_overflow=-1, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: `_begin_sqlite` decides how they begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    # A commit is on the disk when it returns; WAL alone would only promise that it is not torn.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: one that read first could not wait for another writer, only fail.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Keep other processes from creating or migrating the same SQLite file at the same time."""
    if engine.dialect.name != "sqlite":
        yield
        return
    with errors_named():
        descriptor = os.open(f"{engine.url.database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@contextmanager
def errors_named() -> Iterator[None]:
    """Turn the database's ways of saying so into StorageFull and CatalogueBusy."""
    try:
        yield
    except OperationalError as error:
        name = getattr(error.orig, "sqlite_errorname", "")
        if name in _FULL or getattr(error.orig, "sqlstate", None) == _POSTGRESQL_FULL:
            raise StorageFull("no room left on the disk that holds the catalogue") from error
        if name.startswith("SQLITE_BUSY"):
            raise CatalogueBusy("another process keeps the catalogue locked") from error
        raise
