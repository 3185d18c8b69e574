"""Tunings of categories: requested, under way, and what came out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from indexer.catalogue.audit import note
from indexer.catalogue.queries import id_of_category, now
from indexer.catalogue.tables import CategoryRow, TuningRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.json_types import JsonObject
from indexer.domain.tuning import Tuning, TuningResult


class Tunings:
    """The latest tuning of each category of one data folder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def request(self, category: str, images: int) -> Tuning:
        """Begin anew, unless one is under way; an earlier result is forgotten. CategoryNotFound."""
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            own = TuningRow.category_id == category_id
            present = connection.execute(_tunings().where(own)).one_or_none()
            if present is not None and present.finished_at is None:
                return _tuning(present)
            connection.execute(delete(TuningRow).where(own))
            values = {"settings": {}, "images": images, "done": 0, "requested_at": now()}
            connection.execute(insert(TuningRow).values(category_id=category_id, **values))
            note(connection, "tuning.requested", category, after={"images": images})
            return _tuning(connection.execute(_tunings().where(own)).one())

    def of(self, category: str) -> Tuning | None:
        """A category's tuning. CategoryNotFound."""
        with self._transactions.reading() as connection:
            own = TuningRow.category_id == id_of_category(connection, category)
            row = connection.execute(_tunings().where(own)).one_or_none()
            return None if row is None else _tuning(row)

    def unfinished(self) -> dict[str, Tuning]:
        """Those that are to be worked on, by category."""
        open_ = (TuningRow.finished_at.is_(None), CategoryRow.removed_at.is_(None))
        with self._transactions.reading() as connection:
            return {row.category: _tuning(row) for row in connection.execute(_tunings().where(*open_))}

    def progress(self, tuning_id: int, key: str, settings: JsonObject, done: int, images: int) -> bool:
        """Keep what it is made with, and how many images are scored; False where it was cancelled meanwhile."""
        values = {"key": key, "settings": settings, "done": done, "images": images}
        return self._update(tuning_id, values)

    def finish(self, tuning_id: int, result: TuningResult) -> bool:
        """Keep its result; False where it was cancelled meanwhile."""
        return self._update(tuning_id, {"finished_at": now(), "result": asdict(result)})

    def fail(self, tuning_id: int, error: str) -> bool:
        """End it without a result; False where it was cancelled meanwhile."""
        return self._update(tuning_id, {"finished_at": now(), "error": error})

    def cancel(self, category: str) -> None:
        """Cancel a category's tuning, or forget its result; nothing where there is none. CategoryNotFound."""
        with self._transactions.writing() as connection:
            own = TuningRow.category_id == id_of_category(connection, category)
            if connection.execute(delete(TuningRow).where(own)).rowcount:
                note(connection, "tuning.cancelled", category)

    def _update(self, tuning_id: int, values: dict[str, Any]) -> bool:
        open_ = (TuningRow.id == tuning_id, TuningRow.finished_at.is_(None))
        with self._transactions.writing() as connection:
            return bool(connection.execute(update(TuningRow).where(*open_).values(**values)).rowcount)


def _tunings() -> Any:
    return select(TuningRow.__table__, CategoryRow.name.label("category")).join(
        CategoryRow, CategoryRow.id == TuningRow.category_id
    )


def _tuning(row: Row[Any]) -> Tuning:
    result = None if row.result is None else TuningResult(**row.result)
    return Tuning(
        row.id,
        row.category,
        row.key,
        row.settings,
        row.images,
        row.done,
        row.requested_at,
        row.finished_at,
        result,
        row.error,
    )
