"""What other changes of the catalogue do with coresets, in their transactions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, insert, select

from indexer.catalogue.tables import CategoryRow, CoresetRow
from indexer.domain.coreset import CoresetFile, CoresetRecord, CoresetResult, CoresetTarget

FINISHED = CoresetRow.name.is_not(None)


def coresets() -> Select[Any]:
    """Rows for `record`, of categories that are not removed."""
    return (
        select(CoresetRow.__table__, CategoryRow.name.label("category"))
        .join(CategoryRow, CategoryRow.id == CoresetRow.category_id)
        .where(CategoryRow.removed_at.is_(None))
    )


def record(row: Row[Any]) -> CoresetRecord:
    """A row of `coresets`."""
    target = CoresetTarget(row.share, row.bound)
    if row.name is None:
        return CoresetRecord(row.id, row.category, target, row.requested_at, error=row.error)
    file = CoresetFile(row.name, row.sha256, row.size)
    result = CoresetResult(file, row.reference_count, row.patches, tuple(row.radii))
    return CoresetRecord(row.id, row.category, target, row.requested_at, row.memory_id, result)


def finished_coresets(connection: Connection, memory_id: int, category: str | None = None) -> tuple[CoresetRecord, ...]:
    """The finished coresets of a memory, of every category or of one, by id."""
    statement = coresets().where(FINISHED, CoresetRow.memory_id == memory_id).order_by(CoresetRow.id)
    if category is not None:
        statement = statement.where(CategoryRow.name == category)
    return tuple(map(record, connection.execute(statement)))


def forget_coresets(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete coresets, asked for or finished. Their files are orphans then."""
    connection.execute(delete(CoresetRow).where(which))


def request_again(connection: Connection, *which: ColumnElement[bool]) -> tuple[int, ...]:
    """Have coresets made anew, to the same targets; the ids of those that were finished.

    The requests are new ones, so that whoever is making one of before cannot finish it. Where a category has both, what
    was asked for last is made.
    """
    rows = connection.execute(select(CoresetRow.__table__).where(*which).order_by(CoresetRow.id)).all()
    targets = {row.category_id: row for row in sorted(rows, key=lambda row: row.name is None)}
    connection.execute(delete(CoresetRow).where(CoresetRow.id.in_([row.id for row in rows])))
    for row in targets.values():
        values = {"share": row.share, "bound": row.bound, "requested_at": row.requested_at}
        connection.execute(insert(CoresetRow).values(category_id=row.category_id, **values))
    return tuple(row.id for row in rows if row.name is not None)
