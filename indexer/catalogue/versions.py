"""Version numbers of snapshots: one for each commit that changes what detection sees."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, insert, select

from indexer.catalogue.queries import now
from indexer.catalogue.tables import ChangeRow
from indexer.domain.snapshot import ChangeKind


def version_of(connection: Connection) -> int:
    """The version of the newest snapshot; 0 before anything happened."""
    return connection.scalar(select(func.max(ChangeRow.version))) or 0


def commit_version(
    connection: Connection, kind: ChangeKind, memory_id: int | None = None, detail: dict[str, Any] | None = None
) -> int:
    """Take the next version number: writers are in line, so counting leaves no gaps where a sequence would."""
    version = version_of(connection) + 1
    connection.execute(
        insert(ChangeRow).values(version=version, at=now(), kind=kind, memory_id=memory_id, detail=detail or {})
    )
    return version
