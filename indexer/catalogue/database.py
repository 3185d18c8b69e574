"""Opens the database of a data folder, at this version's schema."""

from __future__ import annotations

from sqlalchemy import URL, Engine

from indexer.catalogue import migrations
from indexer.catalogue.engine import connect, migration_lock


def open_database(url: str | URL) -> Engine:
    """Connect to the database at an SQLAlchemy url, creating a SQLite one that is not there yet.

    Raises SchemaMismatch when another version of Touchstone wrote it.
    """
    engine = connect(url)
    try:
        with migration_lock(engine):
            if engine.dialect.name == "sqlite" and migrations.is_empty(engine):
                migrations.upgrade(engine)
            migrations.check(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine
