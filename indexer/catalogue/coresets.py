"""Coresets of categories: one that is asked for, and the finished one that is searched meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, update

from indexer.catalogue.audit import note
from indexer.catalogue.coreset_rows import FINISHED, coresets, finished_coresets, record, request_again
from indexer.catalogue.memories import active_memory
from indexer.catalogue.queries import batches, id_of_category, now
from indexer.catalogue.tables import CategoryRow, CoresetRow
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.versions import commit_version
from indexer.domain.coreset import CoresetRecord, CoresetResult, CoresetTarget
from indexer.domain.errors import CoresetNotFound, MemoryInactive


class Coresets:
    """The coresets of one data folder's categories."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def request(self, category: str, target: CoresetTarget) -> CoresetRecord:
        """Ask for a coreset instead of the one that was asked for; a finished one stays meanwhile. CategoryNotFound."""
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            earlier = (CoresetRow.category_id == category_id, ~FINISHED)
            before = connection.execute(coresets().where(*earlier)).one_or_none()
            connection.execute(delete(CoresetRow).where(*earlier))
            values = {"category_id": category_id, **asdict(target), "requested_at": now()}
            connection.execute(insert(CoresetRow).values(**values))
            was = {} if before is None else _target(before)
            row = connection.execute(coresets().where(*earlier)).one()
            note(connection, "coreset.requested", category, was, _target(row))
            return record(row)

    def renew(self, record_id: int) -> CoresetRecord | None:
        """Ask for a finished coreset again, to the same target; it stays meanwhile.

        None when it is not there any more, or one of its category is asked for already.
        """
        with self._transactions.writing() as connection:
            finished = connection.execute(coresets().where(CoresetRow.id == record_id, FINISHED)).one_or_none()
            if finished is None:
                return None
            requested = coresets().where(CoresetRow.category_id == finished.category_id, ~FINISHED)
            if connection.execute(requested).one_or_none() is not None:
                return None
            values = {"share": finished.share, "bound": finished.bound, "requested_at": now()}
            connection.execute(insert(CoresetRow).values(category_id=finished.category_id, **values))
            return record(connection.execute(requested).one())

    def requested(self) -> tuple[CoresetRecord, ...]:
        """Those that are to be made, oldest first."""
        statement = coresets().where(~FINISHED).order_by(CoresetRow.requested_at, CoresetRow.id)
        with self._transactions.reading() as connection:
            return tuple(map(record, connection.execute(statement)))

    def of(self, category: str) -> tuple[CoresetRecord, ...]:
        """A category's finished coreset and the one that is asked for, as far as there are any, by id."""
        statement = coresets().where(CategoryRow.name == category).order_by(CoresetRow.id)
        with self._transactions.reading() as connection:
            return tuple(map(record, connection.execute(statement)))

    def finished(self, memory_id: int) -> tuple[CoresetRecord, ...]:
        """The finished coresets of a memory, by id."""
        with self._transactions.reading() as connection:
            return finished_coresets(connection, memory_id)

    def finish(self, record_id: int, memory_id: int, result: CoresetResult) -> int:
        """Let a coreset that was asked for take the place of the category's earlier one, as of the returned version.

        Raises MemoryInactive when it was made from a memory that is not served any more, and CoresetNotFound when it is
        not asked for any more.
        """
        with self._transactions.writing() as connection:
            memory = active_memory(connection)
            if memory is None or memory.id != memory_id:
                raise MemoryInactive("this data folder has switched to another memory: the coreset is of none any more")
            row = connection.execute(coresets().where(CoresetRow.id == record_id, ~FINISHED)).one_or_none()
            if row is None:
                raise CoresetNotFound(f"no coreset {record_id} is asked for any more")
            connection.execute(delete(CoresetRow).where(CoresetRow.category_id == row.category_id, FINISHED))
            detail = {"category": row.category, "patches": result.patches, "references": result.references}
            version = commit_version(connection, "condensed", memory_id, detail)
            values = {
                **asdict(result.file),
                "memory_id": memory_id,
                "reference_count": result.references,
                "patches": result.patches,
                "radii": list(result.radii),
                "made_version": version,
                "error": None,
            }
            connection.execute(update(CoresetRow).where(CoresetRow.id == record_id).values(**values))
            return version

    def cancel(self, record_id: int) -> None:
        """Make no coreset of that request, if it is still one; a finished one stays."""
        with self._transactions.writing() as connection:
            connection.execute(delete(CoresetRow).where(CoresetRow.id == record_id, ~FINISHED))

    def note_error(self, record_id: int, error: str | None) -> None:
        """Keep why a coreset that is asked for cannot be made; None once it can."""
        with self._transactions.writing() as connection:
            connection.execute(update(CoresetRow).where(CoresetRow.id == record_id, ~FINISHED).values(error=error))

    def drop(self, category: str) -> int | None:
        """Search all references of a category again, and make no coreset of it. Raises CategoryNotFound.

        Returns the version from which on no coreset is searched; None when none was.
        """
        with self._transactions.writing() as connection:
            own = CoresetRow.category_id == id_of_category(connection, category)
            rows = connection.execute(coresets().where(own).order_by(CoresetRow.id)).all()
            if not rows:
                return None
            connection.execute(delete(CoresetRow).where(own))
            finished = next((row for row in rows if row.name is not None), None)
            version = None if finished is None else _commit_without(connection, finished)
            after = {} if version is None else {"version": version}
            note(connection, "coreset.dropped", category, _target(rows[-1]), after)
            return version

    def request_again(self, names: Collection[str]) -> int:
        """Ask again for finished coresets, by file: theirs are missing or damaged. Returns how many there were."""
        with self._transactions.writing() as connection:
            rows = [
                row
                for batch in batches(names)
                for row in connection.execute(coresets().where(CoresetRow.name.in_(batch)).order_by(CoresetRow.id))
            ]
            for row in rows:
                request_again(connection, CoresetRow.category_id == row.category_id)
                _commit_without(connection, row)
            return len(rows)


def _commit_without(connection: Connection, row: Row[Any]) -> int:
    """The version from which on a finished coreset is not searched any more."""
    return commit_version(connection, "condensed", row.memory_id, {"category": row.category})


def _target(row: Row[Any]) -> dict[str, float]:
    return {"share": row.share} if row.share is not None else {"bound": row.bound}
