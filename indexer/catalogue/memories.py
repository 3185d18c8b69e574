"""Memories: one is served, others are filled to replace it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from indexer.catalogue.audit import note
from indexer.catalogue.calibrations import forget_calibrations
from indexer.catalogue.coreset_rows import forget_coresets
from indexer.catalogue.live_references import LIVE
from indexer.catalogue.placements import placed
from indexer.catalogue.queries import now
from indexer.catalogue.tables import (
    AdaptationRow,
    CalibrationRow,
    ChangeRow,
    CoresetRow,
    MemoryRow,
    PlacementRow,
    ReferenceRow,
    SegmentRow,
)
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.versions import commit_version
from indexer.domain.errors import MemoryIncomplete, MemoryNotFound
from indexer.domain.snapshot import MemoryRecord


class Memories:
    """The memories of one data folder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def active(self) -> MemoryRecord | None:
        """The memory being served, None before the first."""
        with self._transactions.reading() as connection:
            return active_memory(connection)

    def ensure(self, space_json: str, fingerprint: str, codec: str) -> MemoryRecord:
        """The active memory; created with these values if there is none."""
        with self._transactions.writing() as connection:
            memory = active_memory(connection)
            if memory is not None:
                return memory
            created = _create(connection, space_json, fingerprint, codec)
            connection.execute(update(MemoryRow).where(MemoryRow.id == created.id).values(active=True))
            commit_version(connection, "switched", created.id)
            return replace(created, active=True)

    def prepare(self, space_json: str, fingerprint: str, codec: str) -> MemoryRecord:
        """A memory of this space and codec that is not served, begun before or new: fill it, then `switch`."""
        with self._transactions.writing() as connection:
            row = connection.execute(
                select(MemoryRow.__table__)
                .where(MemoryRow.fingerprint == fingerprint, MemoryRow.codec == codec, ~MemoryRow.active)
                .order_by(MemoryRow.id)
                .limit(1)
            ).one_or_none()
            return _record(row) if row else _create(connection, space_json, fingerprint, codec)

    def switch(self, memory_id: int) -> int:
        """Serve another memory from the returned version on. Raises MemoryNotFound, MemoryIncomplete.

        Coresets are of one memory: all others are forgotten, and so are those that are asked for.
        """
        with self._transactions.writing() as connection:
            _find(connection, memory_id)
            missing = connection.scalars(
                select(ReferenceRow.id).where(LIVE, ~placed(memory_id)).order_by(ReferenceRow.id).limit(10)
            ).all()
            if missing:
                raise MemoryIncomplete(memory_id, missing)
            before = active_memory(connection)
            connection.execute(update(MemoryRow).where(MemoryRow.active).values(active=False))
            connection.execute(update(MemoryRow).where(MemoryRow.id == memory_id).values(active=True))
            forget_coresets(connection, CoresetRow.memory_id.is_distinct_from(memory_id))
            was = {"memory": before.id} if before else {}
            note(connection, "memory.switched", str(memory_id), was, {"memory": memory_id})
            return commit_version(connection, "switched", memory_id)

    def switched_since(self, version: int) -> bool:
        """Whether another memory, with another encoder or codec, has been served since a version."""
        switched = select(ChangeRow.version).where(ChangeRow.kind == "switched", ChangeRow.version > version).limit(1)
        with self._transactions.reading() as connection:
            return connection.scalar(switched) is not None

    def retire(self, memory_id: int) -> None:
        """Let go of the segments of a memory that is not served. Raises MemoryNotFound; ValueError if it is served."""
        with self._transactions.writing() as connection:
            if _find(connection, memory_id).active:
                raise ValueError("the memory being served cannot be retired")
            connection.execute(delete(PlacementRow).where(PlacementRow.memory_id == memory_id))
            forget_calibrations(connection, CalibrationRow.memory_id == memory_id)
            connection.execute(delete(AdaptationRow).where(AdaptationRow.memory_id == memory_id))
            connection.execute(
                update(SegmentRow)
                .where(SegmentRow.memory_id == memory_id, SegmentRow.retired_at.is_(None))
                .values(retired_at=now())
            )


def active_memory(connection: Connection) -> MemoryRecord | None:
    """The memory being served, None before the first."""
    row = connection.execute(select(MemoryRow.__table__).where(MemoryRow.active)).one_or_none()
    return None if row is None else _record(row)


def _find(connection: Connection, memory_id: int) -> MemoryRecord:
    row = connection.execute(select(MemoryRow.__table__).where(MemoryRow.id == memory_id)).one_or_none()
    if row is None:
        raise MemoryNotFound(f"there is no memory {memory_id}")
    return _record(row)


def _record(row: Row[Any]) -> MemoryRecord:
    return MemoryRecord(row.id, row.fingerprint, row.space_json, row.codec, row.created_at, row.active)


def _create(connection: Connection, space_json: str, fingerprint: str, codec: str) -> MemoryRecord:
    values = {"fingerprint": fingerprint, "space_json": space_json, "codec": codec, "created_at": now()}
    row = connection.execute(insert(MemoryRow).values(**values, active=False).returning(MemoryRow.__table__)).one()
    return _record(row)
