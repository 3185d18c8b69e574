"""The audit trail, written in the transaction of each change."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from indexer.catalogue.access_tables import AuditRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.actor import acting
from indexer.domain.audit import AuditEntry
from indexer.domain.errors import InvalidCursor
from indexer.domain.page import Page


def note(
    connection: Connection,
    action: str,
    target: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add an audit entry for the current actor, in the transaction of the change."""
    actor = acting.get()
    connection.execute(
        insert(AuditRow).values(
            at=datetime.now(UTC),
            actor=actor.name,
            key_id=actor.key_id,
            request_id=actor.request_id,
            action=action,
            target=target,
            before=before or {},
            after=after or {},
        )
    )


class AuditTrail:
    """The entries, for reading; nothing changes or deletes one."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def entries(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        """Entries newest first, of one actor, action or target or of all. Raises InvalidCursor."""
        statement = select(AuditRow.__table__).order_by(AuditRow.id.desc()).limit(limit + 1)
        for column, requested in ((AuditRow.actor, actor), (AuditRow.action, action), (AuditRow.target, target)):
            if requested is not None:
                statement = statement.where(column == requested)
        if cursor is not None:
            if not cursor.isdecimal() or len(cursor) > 18:
                raise InvalidCursor("not a cursor of the audit trail")
            statement = statement.where(AuditRow.id < int(cursor))
        with self._transactions.reading() as connection:
            entries = [
                AuditEntry(**{field.name: getattr(row, field.name) for field in fields(AuditEntry)})
                for row in connection.execute(statement)
            ]
        more = len(entries) > limit
        return Page(tuple(entries[:limit]), str(entries[limit - 1].id) if more else None)
