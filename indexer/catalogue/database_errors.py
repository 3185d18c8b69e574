"""Translates what databases raise into the catalogue's errors: full, busy, unavailable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from indexer.domain.errors import CatalogueBusy, CatalogueUnavailable, StorageFull

DatabaseError = SQLAlchemyError  # whatever else a database says: commands end with it in one line

# Names of SQLite's result codes, and SQLSTATEs of PostgreSQL or the beginnings of their classes.
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "53100")
_BUSY = ("SQLITE_BUSY", "55P03")  # 55P03: lock_timeout
_AWAY = (
    "SQLITE_IOERR",
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "57P",  # shut down, or starting up
    "08",  # the connection was lost
    "53300",  # too many connections
)


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
