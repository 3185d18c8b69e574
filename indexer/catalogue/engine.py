"""Connections to SQLite or PostgreSQL with durable commits; translates database errors."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from indexer.catalogue.timeouts import Patience, patience, within
from indexer.domain.errors import CatalogueBusy, CatalogueUnavailable, CommitUncertain, StorageFull, UnsupportedDatabase

T = TypeVar("T")
DatabaseError = SQLAlchemyError  # whatever else a database says: commands end with it in one line

_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "53100")
_BUSY = ("SQLITE_BUSY", "55P03")  # 55P03: lock_timeout of PostgreSQL
_AWAY = (
    "57P",
    "08",
    "53300",  # shut down or starting up, connection lost, too many connections
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
)

# Advisory locks of PostgreSQL: they put writers in line, and keep two migrations apart.
_WRITERS_LOCK = 0x746F756368
_MIGRATION_LOCK = 0x746F756369

# A database that is gone is noticed within seconds, also when the network swallows what is sent to it.
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def connect(url: str | URL) -> Engine:
    """An engine for an SQLAlchemy url; its option `immediate` marks connections that write.

    UnsupportedDatabase for a url of neither SQLite nor PostgreSQL, and for a SQLite database without a file.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        defaults = {**_POSTGRESQL, "options": f"-c lock_timeout={_milliseconds(Patience().lock)}"}
        options = {key: value for key, value in defaults.items() if key not in parsed.query}
        engine = create_engine(parsed, pool_pre_ping=True, max_overflow=-1, connect_args=options)
        event.listen(engine, "do_connect", _open_postgresql)
        return engine
    if parsed.database is None or parsed.database in ("", ":memory:"):
        raise UnsupportedDatabase("the catalogue needs a database file")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, max_overflow=-1, connect_args={"timeout": Patience().lock})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def parse_url(url: str | URL) -> URL:
    """An SQLAlchemy url with the driver that the catalogue uses. UnsupportedDatabase for other databases."""
    try:
        parsed = make_url(url)
    except ArgumentError:  # whose message may hold the url, and with it a password
        raise UnsupportedDatabase("the database url cannot be read as one of SQLAlchemy") from None
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise UnsupportedDatabase(f"the catalogue supports sqlite and postgresql, not {parsed.drivername}")
    return parsed


class Transactions:
    """The two kinds of transaction on one database. Both may raise CatalogueBusy and CatalogueUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._sqlite = engine.dialect.name == "sqlite"
        self._answering = True
        self._reader = engine if self._sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer = engine.execution_options(immediate=True)

    @property
    def answering(self) -> bool:
        """Whether the last query of any thread was answered."""
        return self._answering

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See one state of the database, whatever is committed meanwhile."""
        with (
            self._bounded(),
            translate_errors(),
            self._reader.connect() as connection,
            connection.begin() as transaction,
        ):
            yield connection
            with _discarding_on_error(connection):
                transaction.commit()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Be the only writer, of all threads and processes; durable when the block has ended. StorageFull.

        Raises CommitUncertain when the answer to the commit was lost: see `certainly`. With any other error nothing was
        written.
        """
        with (
            self._bounded(),
            translate_errors(),
            self._writer.connect() as connection,
            connection.begin() as transaction,
        ):
            if not self._sqlite:
                _wait_for_writers(connection)
            yield connection
            try:
                with translate_errors(), _discarding_on_error(connection):
                    transaction.commit()
            except CatalogueUnavailable as error:
                raise CommitUncertain(str(error)) from error

    def certainly(self, write: Callable[[], T], find: Callable[[Connection], T | None]) -> T:
        """What `write`, one transaction, returns, also when the answer to its commit is lost.

        Then `find` looks for what it wrote in a settled state. With None it was not written: CatalogueUnavailable.
        CommitUncertain when the database cannot be asked either.
        """
        try:
            return write()
        except CommitUncertain as lost:
            try:
                with self.reading_after_barrier() as connection:
                    result = find(connection)
            except (CatalogueBusy, CatalogueUnavailable, StorageFull):
                raise lost from None
            if result is None:
                raise CatalogueUnavailable(f"{lost}; nothing was written") from lost
            return result

    @contextmanager
    def reading_after_barrier(self) -> Iterator[Connection]:
        """Read a state that a dead process can no longer change.

        PostgreSQL may still be about to commit what such a process sent last; its transaction holds the writers' lock
        until then. SQLite's log may contain a complete commit of a process that was killed before it became visible: it
        becomes visible when the database is next opened after all processes have ended. A commit of ours takes its
        place for good. Deleting files that no row names requires this; otherwise such a commit may name them a moment
        later. Raises StorageFull when a full disk leaves no room for that commit, and the log cannot be emptied
        instead.
        """
        if not self._sqlite:
            with self.writing() as connection:
                yield connection
            return
        try:
            with self.writing() as connection:
                version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                connection.exec_driver_sql(f"PRAGMA user_version = {(version + 1) % 2**31}")
        except StorageFull:
            if not self._emptied_log():
                raise
        with self.reading() as connection:
            yield connection

    def _emptied_log(self) -> bool:
        """Whether SQLite's log, with invisible commits, could be emptied; that needs no disk space."""
        with translate_errors(), self._reader.connect() as connection:
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
    def _bounded(self) -> Iterator[None]:
        """Bound how long the database may be silent, and note whether it answered."""
        try:
            with within(patience.get().answer):
                yield
        except CatalogueUnavailable:
            self._answering = False
            raise
        else:
            self._answering = True

    def close(self) -> None:
        """Close the connections."""
        self._reader.dispose()


def _configure_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: `_begin_sqlite` decides how they begin.
    connection.isolation_level = None
    cursor = connection.cursor()
    # A commit is on the disk when it returns; WAL alone would only promise that it is not torn. What SQLite sorts stays
    # in memory: a full temporary folder must not fail a query.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _wait_for_writers(connection: Connection) -> None:
    current = patience.get()
    if current.lock != Patience().lock:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_milliseconds(current.lock)}")
    with within(current.lock + current.answer):
        connection.execute(select(func.pg_advisory_xact_lock(_WRITERS_LOCK)))


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _open_postgresql(_dialect: object, _record: object, args: Any, options: dict[str, Any]) -> Any:
    from indexer.catalogue.postgresql import open_connection  # with SQLite, nothing of psycopg is loaded

    return open_connection(*args, **options)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_milliseconds(patience.get().lock)}")
    # A writer takes its lock at once: one that read first could not wait for another writer, only fail.
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def migration_lock(engine: Engine) -> Iterator[None]:
    """Keep other processes from creating or migrating the same database at the same time."""
    with translate_errors():
        if engine.dialect.name == "sqlite":
            descriptor = os.open(f"{engine.url.database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        else:
            with engine.begin() as connection:
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                yield


@contextmanager
def _discarding_on_error(connection: Connection) -> Iterator[None]:
    """Close the database connection when its commit fails: SQLAlchemy returns it to the pool inside its transaction.

    There it would hold the writers' lock, and its next user could not begin.
    """
    try:
        yield
    except BaseException:
        connection.invalidate()
        raise


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the database's ways of saying so into StorageFull, CatalogueBusy and CatalogueUnavailable."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
        if code in _FULL:
            raise StorageFull("no space left on the catalogue's disk") from error
        if code.startswith(_BUSY):
            raise CatalogueBusy("another process keeps the catalogue locked") from error
        # psycopg gives no code when it cannot connect or the connection breaks under it.
        if code.startswith(_AWAY) or error.connection_invalidated or (not code and isinstance(error, OperationalError)):
            message = str(error.orig).partition("\n")[0]
            raise CatalogueUnavailable(f"the catalogue's database does not respond: {message}") from error
        raise
