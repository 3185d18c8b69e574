"""Makes a new SQLite catalogue that holds some categories of another, and nothing of its history."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, delete, select, update

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.dump import Row, fill, new_database, revision_of
from indexer.catalogue.tables import (
    AdaptationRow,
    CalibrationRow,
    CategoryGeometryRow,
    CategoryRow,
    ChangeRow,
    CoresetRow,
    KeyRow,
    LeaveOneOutRow,
    MemoryRow,
    PlacementRow,
    ReferenceRow,
    SegmentRow,
)
from indexer.catalogue.transactions import Transactions
from indexer.domain.errors import CategoryNotFound
from indexer.domain.stored_file import NamedFile

# What is known of references, and who may ask; inspections, drift and the audit trail stay where they are.
_TABLES = frozenset(
    row.__tablename__
    for row in (
        AdaptationRow,
        CalibrationRow,
        CategoryGeometryRow,
        CategoryRow,
        ChangeRow,
        CoresetRow,
        KeyRow,
        LeaveOneOutRow,
        MemoryRow,
        PlacementRow,
        ReferenceRow,
        SegmentRow,
    )
)


def extract(source: Catalogue, file: Path, categories: Collection[str]) -> tuple[NamedFile, ...]:
    """Write the catalogue of these categories, as it is now, to a new SQLite file; returns the files that it names.

    Ids and the version stay as they are, so that answers do. CategoryNotFound.
    """
    url = URL.create("sqlite", database=str(file))
    with source.dump.state() as state:
        rows = state.rows()
        revision = revision_of(rows)
        with new_database(url) as engine:
            fill(engine, revision, _of_references(rows))
            with Transactions(engine).writing() as connection:
                _keep(connection, categories)
            with engine.connect() as connection:
                connection.exec_driver_sql("COMMIT")  # what was deleted is not to be read in the file either
                connection.exec_driver_sql("VACUUM")
    Path(f"{file}.lock").unlink(missing_ok=True)
    extracted = Catalogue.open(url)
    try:
        with extracted.dump.state() as state:
            return state.files()
    finally:
        extracted.close()
        Path(f"{file}.lock").unlink(missing_ok=True)


def _of_references(rows: Iterator[Row]) -> Iterator[Row]:
    return (row for row in rows if row["table"] in _TABLES)


def _keep(connection: Connection, names: Collection[str]) -> None:
    """Delete all that is not of the live references of these categories in the memory being served."""
    live = select(CategoryRow.id, CategoryRow.name).where(CategoryRow.removed_at.is_(None), CategoryRow.name.in_(names))
    ids_by_name = {row.name: row.id for row in connection.execute(live)}
    if missing := sorted(set(names) - ids_by_name.keys()):
        raise CategoryNotFound(f"there is no category {missing[0]!r}")
    ids = list(ids_by_name.values())
    served = select(MemoryRow.id).where(MemoryRow.active)
    for table in (LeaveOneOutRow, AdaptationRow, CalibrationRow):
        connection.execute(delete(table).where(table.category_id.not_in(ids) | table.memory_id.not_in(served)))
    # An exported folder is read only: what is asked for is not made there.
    connection.execute(delete(CoresetRow).where(CoresetRow.category_id.not_in(ids) | CoresetRow.name.is_(None)))
    active = select(CategoryGeometryRow.id).where(
        CategoryGeometryRow.active, CategoryGeometryRow.category_id.in_(ids), CategoryGeometryRow.memory_id.in_(served)
    )
    references = select(ReferenceRow.id).where(ReferenceRow.removed_at.is_(None), ReferenceRow.category_id.in_(ids))
    connection.execute(
        delete(PlacementRow).where(
            PlacementRow.geometry_id.not_in(active) | PlacementRow.reference_id.not_in(references)
        )
    )
    connection.execute(delete(LeaveOneOutRow).where(LeaveOneOutRow.reference_id.not_in(references)))
    connection.execute(delete(SegmentRow).where(SegmentRow.id.not_in(select(PlacementRow.segment_id))))
    connection.execute(delete(CategoryGeometryRow).where(CategoryGeometryRow.id.not_in(active)))
    connection.execute(
        delete(ReferenceRow).where(ReferenceRow.removed_at.is_not(None) | ReferenceRow.category_id.not_in(ids))
    )
    connection.execute(delete(CategoryRow).where(CategoryRow.id.not_in(ids)))
    connection.execute(update(ChangeRow).values(memory_id=None, detail={}))
    connection.execute(delete(MemoryRow).where(~MemoryRow.active))
    connection.execute(delete(KeyRow).where(KeyRow.revoked_at.is_not(None)))
