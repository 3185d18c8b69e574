"""Who changed what, and when: written in the transaction of the change itself, so that neither is without the other."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from indexer.catalogue.database import Transactions
from indexer.catalogue.errors import InvalidCursor
from indexer.catalogue.models import AuditRow
from indexer.catalogue.records import JsonObject, Page


@dataclass(frozen=True)
class Actor:
    """Who is at work. name: a key's name, or a word for whoever has none; key_id: the key's; request_id: of the log."""

    name: str
    key_id: str | None = None
    request_id: str | None = None


# A context variable and not a parameter: it follows a request into the threads that work for it, and a call that
# forgot to pass it on would leave a change without its author.
acting: ContextVar[Actor] = ContextVar("acting", default=Actor("touchstone"))  # noqa: B039 - it is frozen


@dataclass(frozen=True)
class AuditEntry:
    """One change. action: such as `settings.changed`; target: what was changed; before, after: what was different."""

    id: int
    at: datetime
    actor: str
    key_id: str | None
    request_id: str | None
    action: str
    target: str
    before: JsonObject
    after: JsonObject


def note(
    connection: Connection, action: str, target: str, before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Add an entry by whoever is acting to the transaction of the change it tells of."""
    actor = acting.get()
    connection.execute(
        insert(AuditRow).values(
            at=datetime.now(UTC), actor=actor.name, key_id=actor.key_id, request_id=actor.request_id, action=action,
            target=target, before=before or {}, after=after or {},
        )
    )  # fmt: skip


class AuditTrail:
    """The entries, for reading; nothing changes or deletes one."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def entries(
        self, *, actor: str | None = None, action: str | None = None, target: str | None = None,
        cursor: str | None = None, limit: int = 100,
    ) -> Page[AuditEntry]:  # fmt: skip
        """Entries newest first, of one actor, action or target or of all. Raises InvalidCursor."""
        statement = select(AuditRow.__table__).order_by(AuditRow.id.desc()).limit(limit + 1)
        for column, wanted in ((AuditRow.actor, actor), (AuditRow.action, action), (AuditRow.target, target)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        if cursor is not None:
            if not cursor.isdecimal() or len(cursor) > 18:
                raise InvalidCursor("not a cursor of the audit trail")
            statement = statement.where(AuditRow.id < int(cursor))
        with self._transactions.reading() as connection:
            found = [
                AuditEntry(**{field.name: getattr(row, field.name) for field in fields(AuditEntry)})
                for row in connection.execute(statement)
            ]
        more = len(found) > limit
        return Page(tuple(found[:limit]), str(found[limit - 1].id) if more else None)
