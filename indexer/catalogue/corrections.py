"""Which corrections of what earlier versions noted wrongly are complete: those that need more than the database."""

from __future__ import annotations

from sqlalchemy import insert, select

from indexer.catalogue.tables import CorrectionRow
from indexer.catalogue.transactions import Transactions


class Corrections:
    """The corrections of one catalogue, by name. A backup has them, too."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def complete(self, name: str) -> bool:
        """Whether nothing is left to be corrected."""
        with self._transactions.reading() as connection:
            return connection.scalar(select(CorrectionRow.name).where(CorrectionRow.name == name)) is not None

    def note_complete(self, name: str) -> None:
        """Keep that nothing is left; doing so again changes nothing."""
        with self._transactions.writing() as connection:
            if connection.scalar(select(CorrectionRow.name).where(CorrectionRow.name == name)) is None:
                connection.execute(insert(CorrectionRow).values(name=name))
