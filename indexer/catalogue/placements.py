"""Maps references of a memory to rows of its segments."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, exists, insert, select

from indexer.catalogue.queries import batches, now
from indexer.catalogue.tables import CategoryGeometryRow, PlacementRow, ReferenceRow, SegmentRow
from indexer.domain.snapshot import PlacedReference, SegmentFile, SegmentRows


def record_segment(
    connection: Connection, memory_id: int, segment: SegmentFile, rows: Mapping[int, tuple[int, int]]
) -> None:
    """Note a segment of a memory and where in it references lie. rows: reference id → geometry, row of the segment."""
    segment_id = connection.scalar(
        insert(SegmentRow).values(**asdict(segment), memory_id=memory_id, created_at=now()).returning(SegmentRow.id)
    )
    connection.execute(
        insert(PlacementRow),
        [
            {
                "reference_id": key,
                "geometry_id": geometry_id,
                "memory_id": memory_id,
                "segment_id": segment_id,
                "row": row,
            }
            for key, (geometry_id, row) in rows.items()
        ],
    )


def placed(memory_id: int) -> ColumnElement[bool]:
    """Whether a memory holds the reference of a row under its category's active geometry, as a condition."""
    return exists().where(
        PlacementRow.reference_id == ReferenceRow.id,
        PlacementRow.memory_id == memory_id,
        PlacementRow.geometry_id == CategoryGeometryRow.id,
        CategoryGeometryRow.active,
    )


def encoded_in(geometry_id: int) -> ColumnElement[bool]:
    """Whether the reference of a row is encoded under a geometry, as a condition."""
    return exists().where(PlacementRow.reference_id == ReferenceRow.id, PlacementRow.geometry_id == geometry_id)


def encoded_ids(connection: Connection, geometry_id: int, ids: Iterable[int]) -> set[int]:
    """Those of the ids that are encoded under a geometry."""
    statement = select(PlacementRow.reference_id).where(PlacementRow.geometry_id == geometry_id)
    return {
        placement
        for batch in batches(ids)
        for placement in connection.scalars(statement.where(PlacementRow.reference_id.in_(batch)))
    }


def grouped_by_segment(rows: Iterable[Any]) -> tuple[SegmentRows, ...]:
    """Rows in order of segment, of a segment's four columns, reference, category and row, as what lies in each."""
    return tuple(
        SegmentRows(
            SegmentFile(*key), tuple(PlacedReference(row.reference_id, row.category, row.row) for row in placements)
        )
        for key, placements in itertools.groupby(rows, lambda row: cast(tuple[str, str, int, int], tuple(row[:4])))
    )
