"""The id of a catalogue, which its data folder has, too."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from indexer.catalogue.tables import IdentityRow
from indexer.catalogue.transactions import Transactions


class Identity:
    """The id of one catalogue, once it has got one."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def find(self) -> str | None:
        """The id, 32 hexadecimal digits; None before the catalogue was opened with a data folder."""
        with self._transactions.reading() as connection:
            return _find(connection)

    def ensure(self, proposed: str) -> str:
        """The id that the catalogue has; the proposed one if it had none."""
        with self._transactions.writing() as connection:
            existing = _find(connection)
            if existing is None:
                connection.execute(insert(IdentityRow).values(id=proposed))
            return existing or proposed


def _find(connection: Connection) -> str | None:
    return connection.scalar(select(IdentityRow.id))
