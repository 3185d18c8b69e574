"""The review queue: inspections that wait for an engineer's decision, newest first."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, func, select

from indexer.catalogue.audit import note
from indexer.catalogue.inspection_rows import find_inspection, inspection_page
from indexer.catalogue.labels import remove_promoted, store_label, update_inspection
from indexer.catalogue.queries import now
from indexer.catalogue.tables import InspectionRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.inspection import Inspection, Label
from indexer.domain.page import Page
from indexer.domain.review import ReviewReason


class ReviewQueue:
    """The inspections of one data folder that wait for review."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def page(
        self,
        category: str | None = None,
        reason: ReviewReason | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Inspection]:
        """The inspections that wait for review, newest first; None matches all. Raises InvalidCursor."""
        with self._transactions.reading() as connection:
            return inspection_page(connection, _waiting(category, reason), cursor, limit)

    def count(self, category: str | None = None, reason: ReviewReason | None = None) -> int:
        """How many inspections wait for review; None matches all."""
        with self._transactions.reading() as connection:
            statement = select(func.count()).select_from(InspectionRow).where(*_waiting(category, reason))
            return connection.execute(statement).scalar_one()

    def propose(self, inspection_id: str) -> Inspection:
        """Store an operator's label `good`, which waits for review. Raises InspectionNotFound.

        One that is labelled good already stays as it is.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = find_inspection(connection, inspection_id)
                if before.label != "good":
                    store_label(connection, before, "good", None, review="feedback")
                    remove_promoted(connection, before)
                return find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = find_inspection(connection, inspection_id)
            return inspection if inspection.label == "good" else None

        return self._transactions.certainly(write, find)

    def dismiss(self, inspection_id: str) -> Inspection:
        """Take an inspection out of the review queue without a label; one that an operator gave stays.

        Raises InspectionNotFound.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = find_inspection(connection, inspection_id)
                if before.waits:
                    update_inspection(connection, replace(before, reviewed_at=now()))
                    note(connection, "review.dismissed", before.id, {"review": before.review})
                return find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = find_inspection(connection, inspection_id)
            return None if inspection.waits else inspection

        return self._transactions.certainly(write, find)

    def reopen(self, inspection_id: str) -> Inspection:
        """Put an inspection back into the review queue, as it was before it was decided. Raises InspectionNotFound.

        The reference that it became is removed. One that never was in the queue stays as it is.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = find_inspection(connection, inspection_id)
                if before.reviewed_at is not None:
                    label: Label | None = "good" if before.review == "feedback" else None
                    store_label(connection, before, label, None, review=before.review)
                    remove_promoted(connection, before)
                return find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = find_inspection(connection, inspection_id)
            return inspection if inspection.reviewed_at is None else None

        return self._transactions.certainly(write, find)


def _waiting(category: str | None, reason: ReviewReason | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [InspectionRow.review.is_not(None), InspectionRow.reviewed_at.is_(None)]
    if category is not None:
        conditions.append(InspectionRow.category == category)
    if reason is not None:
        conditions.append(InspectionRow.review == reason)
    return conditions
