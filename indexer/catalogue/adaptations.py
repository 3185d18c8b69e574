"""Calibrations for images that are stored in another way than a category's references."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from indexer.catalogue.queries import id_of_category, now
from indexer.catalogue.tables import AdaptationRow, CategoryRow
from indexer.catalogue.transactions import Transactions

MAX_ENCODINGS = 4  # of one category: cameras have few ways of storing


@dataclass(frozen=True)
class StoredAdaptation:
    """key: of the calibration that it was made beside. state: `Adaptation` as bytes."""

    key: str
    state: bytes


class Adaptations:
    """The adaptations of one data folder. encoding: `Encoding` in JSON."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read(self, category: str, memory_id: int, encoding: str) -> StoredAdaptation | None:
        """What is kept for images of one encoding."""
        with self._transactions.reading() as connection:
            row = connection.execute(
                select(AdaptationRow.key, AdaptationRow.state)
                .join(CategoryRow, CategoryRow.id == AdaptationRow.category_id)
                .where(
                    CategoryRow.name == category,
                    CategoryRow.removed_at.is_(None),
                    AdaptationRow.memory_id == memory_id,
                    AdaptationRow.encoding == encoding,
                )
            ).one_or_none()
            return None if row is None else StoredAdaptation(row.key, row.state)

    def store(self, category: str, memory_id: int, encoding: str, adaptation: StoredAdaptation) -> None:
        """Keep one in the place of an older one; of several, the four made last stay. CategoryNotFound."""
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            conditions = (AdaptationRow.category_id == category_id, AdaptationRow.memory_id == memory_id)
            connection.execute(delete(AdaptationRow).where(*conditions, AdaptationRow.encoding == encoding))
            connection.execute(
                insert(AdaptationRow).values(
                    category_id=category_id,
                    memory_id=memory_id,
                    encoding=encoding,
                    key=adaptation.key,
                    at=now(),
                    state=adaptation.state,
                )
            )
            newest = select(AdaptationRow.encoding).where(*conditions).order_by(AdaptationRow.at.desc())
            old = connection.scalars(newest.offset(MAX_ENCODINGS)).all()
            connection.execute(delete(AdaptationRow).where(*conditions, AdaptationRow.encoding.in_(old)))
