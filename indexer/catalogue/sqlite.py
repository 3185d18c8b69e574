"""The catalogue in SQLite: durable connections, how transactions begin, its log, the lock file of migrations."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from indexer.catalogue.timeouts import Patience, milliseconds, patience
from indexer.domain.errors import UnsupportedDatabase


def create(url: URL) -> Engine:
    """An engine whose commits are durable; its option `immediate` marks connections that write.

    UnsupportedDatabase for a database without a file.
    """
    if url.database is None or url.database in ("", ":memory:"):
        raise UnsupportedDatabase("the catalogue needs a database file")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, max_overflow=-1, connect_args={"timeout": Patience().lock})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def write_something(connection: Connection) -> None:
    """Make the transaction one that writes, by a change that means nothing."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version = {(version + 1) % 2**31}")


def empty_log(engine: Engine) -> bool:
    """Whether the log, with commits that are not visible yet, could be emptied; that needs no disk space."""
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        cursor = driver.cursor()  # outside any transaction: a checkpoint cannot run inside one
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            row = cursor.fetchone()
        except sqlite3.Error:
            return False
        finally:
            cursor.close()
    return row is not None and row[0] == 0


@contextmanager
def migration_lock_file(database: str) -> Iterator[None]:
    """Hold the exclusive lock on a file beside the database."""
    descriptor = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _configure(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: `_begin` decides how they begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    # A commit is on the disk when it returns; WAL alone would only promise that it is not torn. What SQLite sorts stays
    # in memory: a full temporary folder must not fail a query.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    # SQLite's own knows A to Z only: searching for "öse" would not find "Öse", as it does in PostgreSQL.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds(patience.get().lock)}")
    # A writer takes its lock at once: one that read first could not wait for another writer, only fail.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
