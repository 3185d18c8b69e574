"""The table of segments: what a snapshot lacks, how compaction replaces segments."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, update

from indexer.catalogue.coreset_rows import finished_coresets
from indexer.catalogue.geometries import active_geometries
from indexer.catalogue.live_references import LIVE, live_ids
from indexer.catalogue.memories import active_memory
from indexer.catalogue.placements import grouped_by_segment, record_segment
from indexer.catalogue.queries import batches, now
from indexer.catalogue.tables import CategoryGeometryRow, CategoryRow, PlacementRow, ReferenceRow, SegmentRow
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.versions import commit_version, version_of
from indexer.domain.errors import SegmentsChanged
from indexer.domain.snapshot import SegmentFile, SegmentUsage, Shard, SnapshotDelta


class Segments:
    """The segments of one data folder's memories."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def changes_since(self, version: int, memory_id: int, shard: Shard | None = None) -> SnapshotDelta:
        """What a snapshot of this memory at `version` lacks; from version 0, everything that is live.

        shard: leave out what was added to others, and coresets of other categories. What was removed is named whatever
        shard it was of.
        A snapshot that lacks nothing, as of a service that looks again and again, costs two short queries.
        A compaction by another process may delete a segment between this answer and its reading: ask again then.
        """
        with self._transactions.reading() as connection:
            active, newest = active_memory(connection), version_of(connection)
            if newest == version > 0:
                return SnapshotDelta(version, active, (), ())
            fresh = (ReferenceRow.added_version > version) | (CategoryGeometryRow.activated_version > version)
            if shard is not None:
                fresh &= (CategoryRow.name == shard.category) & (ReferenceRow.id % shard.count == shard.number)
            added = connection.execute(
                select(
                    SegmentRow.name,
                    SegmentRow.sha256,
                    SegmentRow.size,
                    SegmentRow.count,
                    ReferenceRow.id.label("reference_id"),
                    CategoryRow.name.label("category"),
                    PlacementRow.row,
                )
                .join(PlacementRow, PlacementRow.segment_id == SegmentRow.id)
                .join(ReferenceRow, ReferenceRow.id == PlacementRow.reference_id)
                .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
                .join(CategoryGeometryRow, CategoryGeometryRow.id == PlacementRow.geometry_id)
                .where(PlacementRow.memory_id == memory_id, LIVE, CategoryGeometryRow.active, fresh)
                .order_by(SegmentRow.id, PlacementRow.row)
            )
            segments = grouped_by_segment(added)
            removed = connection.scalars(
                select(ReferenceRow.id)
                .where(ReferenceRow.removed_version > version, ReferenceRow.added_version <= version)
                .order_by(ReferenceRow.id)
            ).all()
            reencoded = connection.scalars(
                select(ReferenceRow.id)
                .join(CategoryGeometryRow, CategoryGeometryRow.category_id == ReferenceRow.category_id)
                .where(
                    LIVE,
                    ReferenceRow.added_version <= version,
                    CategoryGeometryRow.memory_id == memory_id,
                    CategoryGeometryRow.active,
                    CategoryGeometryRow.activated_version > version,
                )
                .order_by(ReferenceRow.id)
            ).all()
            geometries = active_geometries(connection, memory_id)
            coresets = finished_coresets(connection, memory_id, shard.category if shard is not None else None)
            return SnapshotDelta(newest, active, segments, tuple(removed), geometries, tuple(reencoded), coresets)

    def of(self, memory_id: int) -> tuple[SegmentUsage, ...]:
        """The segments in use by a memory, oldest first, with what is still alive in each.

        Those of a geometry that is not active yet are left out.
        """
        live = func.count(ReferenceRow.id)
        pending = exists().where(
            PlacementRow.segment_id == SegmentRow.id,
            PlacementRow.geometry_id == CategoryGeometryRow.id,
            ~CategoryGeometryRow.active,
        )
        with self._transactions.reading() as connection:
            rows = connection.execute(
                select(SegmentRow.name, SegmentRow.sha256, SegmentRow.size, SegmentRow.count, live)
                .outerjoin(PlacementRow, PlacementRow.segment_id == SegmentRow.id)
                .outerjoin(ReferenceRow, (ReferenceRow.id == PlacementRow.reference_id) & LIVE)
                .where(SegmentRow.memory_id == memory_id, SegmentRow.retired_at.is_(None), ~pending)
                .group_by(SegmentRow.id, SegmentRow.name, SegmentRow.sha256, SegmentRow.size, SegmentRow.count)
                .order_by(SegmentRow.id)
            )
            return tuple(SegmentUsage(SegmentFile(*row[:4]), row[4]) for row in rows)

    def move(self, memory_id: int, segment: SegmentFile, rows: Mapping[int, int]) -> int:
        """Let references lie in a new segment instead of where they lie in a memory; returns the version.

        rows: reference id → row of the segment. Those removed meanwhile stay where they are.
        """
        with self._transactions.writing() as connection:
            live = live_ids(connection, rows)
            placed: dict[int, tuple[int, int]] = {}
            for batch in batches(live):
                active = select(CategoryGeometryRow.id).where(CategoryGeometryRow.active)
                lying = (
                    PlacementRow.memory_id == memory_id,
                    PlacementRow.reference_id.in_(batch),
                    PlacementRow.geometry_id.in_(active),
                )
                placed |= _moved(connection, rows, *lying)
                connection.execute(delete(PlacementRow).where(*lying))
            if placed:
                record_segment(connection, memory_id, segment, placed)
            return commit_version(connection, "compacted", memory_id, {"references": len(live)})

    def replace(
        self, memory_id: int, old: Collection[str], segment: SegmentFile | None, rows: Mapping[int, int]
    ) -> int:
        """Put one segment in the place of others; returns the version.

        rows: reference id → row of the new segment; must name every live reference of the old ones, and may name ones
        removed meanwhile. segment: None when there is no such reference. The old files may be deleted afterwards.
        Raises SegmentsChanged when the old segments are no longer in use or hold a live reference that rows lacks.
        """
        with self._transactions.writing() as connection:
            old_ids = connection.scalars(
                select(SegmentRow.id).where(
                    SegmentRow.memory_id == memory_id, SegmentRow.retired_at.is_(None), SegmentRow.name.in_(old)
                )
            ).all()
            if len(old_ids) != len(set(old)):
                raise SegmentsChanged("the segments to compact are no longer in use")
            live = set(
                connection.scalars(
                    select(ReferenceRow.id)
                    .join(PlacementRow, PlacementRow.reference_id == ReferenceRow.id)
                    .where(PlacementRow.segment_id.in_(old_ids), LIVE)
                )
            )
            if not live <= (rows.keys() if segment else set()):
                raise SegmentsChanged("the new segment lacks live references of the ones it replaces")
            placed = _moved(connection, {key: rows[key] for key in live}, PlacementRow.segment_id.in_(old_ids))
            connection.execute(delete(PlacementRow).where(PlacementRow.segment_id.in_(old_ids)))
            connection.execute(update(SegmentRow).where(SegmentRow.id.in_(old_ids)).values(retired_at=now()))
            if live and segment:
                record_segment(connection, memory_id, segment, placed)
            return commit_version(connection, "compacted", memory_id, {"segments": len(old_ids)})


def _moved(connection: Connection, rows: Mapping[int, int], *lying: ColumnElement[bool]) -> dict[int, tuple[int, int]]:
    """Where references lie from now on, under the geometry that they are encoded under now.

    rows: reference id → new row. lying: which placements are meant.
    """
    placements = connection.execute(
        select(PlacementRow.reference_id, PlacementRow.geometry_id).where(*lying).order_by(PlacementRow.reference_id)
    )
    return {key: (geometry_id, rows[key]) for key, geometry_id in placements if key in rows}
