"""Engines for the two databases that a catalogue can be in, SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError

from indexer.catalogue import postgresql, sqlite
from indexer.catalogue.database_errors import translate_errors
from indexer.domain.errors import UnsupportedDatabase


def connect(url: str | URL) -> Engine:
    """An engine for an SQLAlchemy url.

    UnsupportedDatabase for a url of neither SQLite nor PostgreSQL, and for a SQLite database without a file.
    """
    parsed = parse_url(url)
    return postgresql.create(parsed) if parsed.get_backend_name() == "postgresql" else sqlite.create(parsed)


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


@contextmanager
def migration_lock(engine: Engine) -> Iterator[None]:
    """Keep other processes from creating or migrating the same database at the same time."""
    with translate_errors():
        if engine.dialect.name == "sqlite":
            assert engine.url.database is not None
            with sqlite.migration_lock_file(engine.url.database):
                yield
        else:
            with engine.begin() as connection:
                postgresql.lock_migrations(connection)
                yield
