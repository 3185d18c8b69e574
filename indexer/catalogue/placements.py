"""Maps references of a memory to rows of its segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, exists, insert, select

from indexer.catalogue.queries import batches, now
from indexer.catalogue.tables import PlacementRow, ReferenceRow, SegmentRow
from indexer.domain.snapshot import SegmentFile


def record_segment(connection: Connection, memory_id: int, segment: SegmentFile, rows: Mapping[int, int]) -> None:
    """Note a segment of a memory and where in it references lie. rows: reference id → row of the segment."""
    segment_id = connection.scalar(
        insert(SegmentRow).values(**asdict(segment), memory_id=memory_id, created_at=now()).returning(SegmentRow.id)
    )
    connection.execute(
        insert(PlacementRow),
        [
            {"reference_id": key, "memory_id": memory_id, "segment_id": segment_id, "row": row}
            for key, row in rows.items()
        ],
    )


def placed(memory_id: int) -> ColumnElement[bool]:
    """Whether a memory holds the reference of a row, as a condition."""
    return exists().where(PlacementRow.reference_id == ReferenceRow.id, PlacementRow.memory_id == memory_id)


def placed_ids(connection: Connection, memory_id: int, ids: Iterable[int]) -> set[int]:
    """Those of the ids that a memory holds."""
    statement = select(PlacementRow.reference_id).where(PlacementRow.memory_id == memory_id)
    return {
        found
        for some in batches(ids)
        for found in connection.scalars(statement.where(PlacementRow.reference_id.in_(some)))
    }
