"""Exports a catalogue as rows; fills a new database of either kind from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import URL, Connection, DateTime, Engine, LargeBinary, MetaData, Table, func, insert, select, text

from indexer.catalogue import migrations
from indexer.catalogue.audit import note
from indexer.catalogue.base import Base
from indexer.catalogue.engine import connect, migration_lock
from indexer.catalogue.stored_files import named_files
from indexer.catalogue.tables import IdentityRow, PlacementRow, SegmentRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.errors import DatabaseNotEmpty, SchemaMismatch
from indexer.domain.stored_file import NamedFile

Row = dict[str, Any]  # one that JSON can hold

_ROWS = 500  # inserted together


class State:
    """One moment of a catalogue, whatever is committed meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self) -> Iterator[Row]:
        """First `{"schema": its revision}`, then `{"table": its name, "row": by column}` for every row but its id's."""
        yield {"schema": self._connection.scalar(text("SELECT version_num FROM alembic_version"))}
        for table in _tables(self._connection).sorted_tables:
            if table.name == IdentityRow.__tablename__:
                continue
            for row in self._connection.execute(select(table)):
                yield {"table": table.name, "row": {key: _plain(value) for key, value in row._mapping.items()}}

    def files(self) -> tuple[NamedFile, ...]:
        """Every file that it names."""
        return tuple(named_files(self._connection))

    def faults(self) -> tuple[str, ...]:
        """Where it contradicts itself: references that lie nowhere, and what SQLite finds wrong with its own file."""
        return (*_unsound(self._connection), *_unplaced(self._connection))


class Dump:
    """Reads one catalogue as a whole."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @contextmanager
    def state(self) -> Iterator[State]:
        """The catalogue as it is now."""
        with self._transactions.reading() as connection:
            yield State(connection)

    def note_restored(self, name: str, files: int) -> None:
        """Add an audit entry for a restore from a backup of this many files."""
        with self._transactions.writing() as connection:
            note(connection, "backup.restored", name, after={"files": files})

    def count_in(self, segments: Iterable[str]) -> int:
        """How many live references of the memory being served lie in segments of these names."""
        statement = text(
            "SELECT count(*) FROM placement JOIN segment ON segment.id = placement.segment_id "
            "JOIN reference ON reference.id = placement.reference_id "
            "JOIN memory ON memory.id = placement.memory_id AND memory.active "
            "JOIN category_geometry ON category_geometry.id = placement.geometry_id AND category_geometry.active "
            "WHERE reference.removed_at IS NULL AND segment.name = :name"
        )
        with self._transactions.reading() as connection:
            return sum(connection.scalar(statement, {"name": name}) or 0 for name in segments)


@contextmanager
def new_database(url: URL) -> Iterator[Engine]:
    """A database with nothing in it, or with the empty tables that `touchstone migrate` makes. DatabaseNotEmpty."""
    engine = connect(url)
    try:
        if not migrations.is_empty(engine) and not _is_unused(engine):
            raise DatabaseNotEmpty("the database is not empty: restore into a new one")
        yield engine
    finally:
        engine.dispose()


def revision_of(rows: Iterator[Row]) -> str:
    """Take the first of `State.rows`: the schema of the others. SchemaMismatch for one of a newer version than this."""
    revision = str(next(rows)["schema"])
    if revision not in migrations.revisions():
        raise SchemaMismatch("the backup was made by a newer version of Touchstone: restore it with that")
    return revision


def fill(engine: Engine, revision: str, rows: Iterator[Row]) -> None:
    """Fill a new database with the others of `State.rows`, in one transaction, in the schema that they have."""
    with migration_lock(engine):
        migrations.upgrade(engine, revision)
        with Transactions(engine).writing() as connection:
            _insert(connection, rows)
            if engine.dialect.name == "postgresql":
                _continue_numbers(connection)


def _unplaced(connection: Connection) -> Iterator[str]:
    unplaced = text(
        "SELECT id FROM reference WHERE removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM placement "
        "JOIN memory ON memory.id = placement.memory_id AND memory.active "
        "JOIN category_geometry ON category_geometry.id = placement.geometry_id AND category_geometry.active "
        "WHERE placement.reference_id = reference.id)"
    )
    for reference_id in connection.scalars(unplaced):
        yield f"reference {reference_id}: not in the memory being served"
    beyond = select(PlacementRow.reference_id, SegmentRow.name).join(
        SegmentRow, SegmentRow.id == PlacementRow.segment_id
    )
    for reference_id, name in connection.execute(
        beyond.where((PlacementRow.row >= SegmentRow.count) | SegmentRow.retired_at.is_not(None))
    ):
        yield f"reference {reference_id}: placed where segment {name} has nothing"


def _unsound(connection: Connection) -> Iterator[str]:
    """What SQLite finds wrong with its own file. PostgreSQL checks pages itself where its checksums are on."""
    if connection.dialect.name == "sqlite":
        for [fault] in connection.exec_driver_sql("PRAGMA integrity_check"):
            if fault != "ok":
                yield f"catalogue: {' '.join(str(fault).split())}"


def _tables(connection: Connection) -> MetaData:
    """The tables of the database's own schema, with the types that the models give the columns that they know."""
    metadata = MetaData()
    metadata.reflect(connection, only=lambda name, _: name != "alembic_version")
    for name, table in metadata.tables.items():
        model = Base.metadata.tables.get(name)
        for column in table.columns:
            if model is not None and column.name in model.columns:
                column.type = model.columns[column.name].type
    return metadata


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def _value(table: Table, key: str, value: Any) -> Any:
    kind = table.columns[key].type
    if value is None:
        return None
    # SQLAlchemy's own decorator for times wraps a DateTime, which `impl` shows.
    if isinstance(getattr(kind, "impl", kind), DateTime):
        return datetime.fromisoformat(value)
    return bytes.fromhex(value) if isinstance(kind, LargeBinary) else value


def _insert(connection: Connection, rows: Iterator[Row]) -> None:
    tables = _tables(connection).tables
    batch: list[Row] = []
    current = ""
    for row in rows:
        if row["table"] != current or len(batch) >= _ROWS:
            if batch:
                connection.execute(insert(tables[current]), batch)
            current, batch = row["table"], []
        table = tables[current]
        batch.append({key: _value(table, key, value) for key, value in row["row"].items()})
    if batch:
        connection.execute(insert(tables[current]), batch)


def _continue_numbers(connection: Connection) -> None:
    """Ids were given: PostgreSQL's sequences have to go on after them."""
    for table in _tables(connection).sorted_tables:
        sequence = (
            connection.scalar(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": f'"{table.name}"'})
            if "id" in table.columns
            else None
        )
        if sequence is not None:
            newest = connection.scalar(select(func.max(table.columns["id"])))
            if newest is not None:
                connection.execute(select(func.setval(sequence, newest)))


def _is_unused(engine: Engine) -> bool:
    """Whether a database has this product's tables, and nothing in them: a first `touchstone migrate` leaves that."""
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        tables = [table for name, table in metadata.tables.items() if name != "alembic_version"]
        return {table.name for table in tables} <= set(Base.metadata.tables) and not any(
            connection.execute(select(table).limit(1)).first() for table in tables
        )
