"""Prunes inspections beyond a limit in small transactions, oldest first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute

from indexer.catalogue.base import UtcDateTime
from indexer.catalogue.stored_files import HAS_IMAGE
from indexer.catalogue.tables import (
    CategoryGeometryRow,
    CategoryRow,
    DiscardRow,
    InspectionRow,
    MemoryRow,
    PlacementRow,
    ReferenceRow,
    SegmentRow,
)
from indexer.catalogue.transactions import Transactions
from indexer.domain.retention import (
    CountAndBytes,
    GroupUsage,
    PruneCutoff,
    PruneTarget,
    ReferenceUsage,
    RetentionGroup,
    RetentionLimits,
)
from indexer.domain.stored_file import original_path, thumbnail_name


class Retention:
    """Retention of the history.

    A cutoff is a timestamp, not a count, so that concurrent pruners agree. Files are listed as pending deletions in the
    transaction that removes their rows, and deleted later: `pending_deletions`.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def usage(self) -> tuple[GroupUsage, ...]:
        """What is kept of every kind there is, by category; those without a category first."""
        by = (InspectionRow.category, InspectionRow.defect)
        thumbnails = func.sum(InspectionRow.thumbnail_bytes)
        every = select(*by, func.count(), func.min(InspectionRow.at), thumbnails).group_by(*by)
        images = select(*by, func.count(), func.sum(InspectionRow.stored_bytes)).where(HAS_IMAGE).group_by(*by)
        with self._transactions.reading() as connection:
            with_images = {
                RetentionGroup(row[0], row[1]): (row[2], int(row[3] or 0)) for row in connection.execute(images)
            }
            usages = [
                GroupUsage(kind, row[2], row[3], int(row[4] or 0), *with_images.get(kind, (0, 0)))
                for row in connection.execute(every)
                for kind in [RetentionGroup(row[0], row[1])]
            ]
        return tuple(sorted(usages, key=lambda usage: (usage.group.category or "", usage.group.defect)))

    def reference_usage(self) -> tuple[ReferenceUsage, ...]:
        """What the live references of every category take, by category."""
        codes = func.sum(SegmentRow.size * 1.0 / SegmentRow.count)
        statement = (
            select(CategoryRow.name, func.count(), func.sum(ReferenceRow.image_bytes), codes)
            .select_from(ReferenceRow)
            .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
            .join(PlacementRow, PlacementRow.reference_id == ReferenceRow.id)
            .join(MemoryRow, (MemoryRow.id == PlacementRow.memory_id) & MemoryRow.active)
            .join(
                CategoryGeometryRow,
                (CategoryGeometryRow.id == PlacementRow.geometry_id) & CategoryGeometryRow.active,
            )
            .join(SegmentRow, SegmentRow.id == PlacementRow.segment_id)
            .where(ReferenceRow.removed_at.is_(None))
            .group_by(CategoryRow.name)
            .order_by(CategoryRow.name)
        )
        with self._transactions.reading() as connection:
            rows = connection.execute(statement)
            return tuple(ReferenceUsage(row[0], row[1], int(row[2] or 0), round(row[3])) for row in rows)

    def plan(
        self, kind: RetentionGroup, target: PruneTarget, bounds: RetentionLimits, now: datetime
    ) -> PruneCutoff | None:
        """Where a kind has to be cut to keep within bounds; None where it does."""
        within, size = _within(kind, target), _size(target)
        ordered = select(InspectionRow.at, InspectionRow.id).where(*within).order_by(InspectionRow.at, InspectionRow.id)
        beyond: list[Row[Any]] = []
        with self._transactions.reading() as connection:
            # Counted in the transaction that counts off what is too much: others may be pruning.
            totals = connection.execute(select(func.count(), func.sum(size)).where(*within)).one()
            if bounds.count is not None and totals[0] > bounds.count:
                beyond += connection.execute(ordered.offset(totals[0] - bounds.count - 1).limit(1))
            if bounds.age is not None:
                newest_first = (InspectionRow.at.desc(), InspectionRow.id.desc())
                old = ordered.where(InspectionRow.at < now - bounds.age).order_by(None).order_by(*newest_first)
                beyond += connection.execute(old.limit(1))
            if bounds.bytes is not None and int(totals[1] or 0) > bounds.bytes:
                beyond += _reaching(connection, within, size, int(totals[1] or 0) - bounds.bytes)
        return None if not beyond else PruneCutoff(kind, target, *max((row.at, row.id) for row in beyond))

    def plan_to_free(self, bytes_to_free: int) -> tuple[PruneCutoff, ...]:
        """Where to cut the images of what is no defect, of whatever category, to give back so many bytes or all."""
        good = (HAS_IMAGE, ~InspectionRow.defect)
        with self._transactions.reading() as connection:
            categories = connection.scalars(select(InspectionRow.category).where(*good).distinct()).all()
            oldest = _reaching(connection, good, InspectionRow.stored_bytes, bytes_to_free)
            if not oldest:
                newest = select(InspectionRow.at, InspectionRow.id).where(*good)
                newest = newest.order_by(InspectionRow.at.desc(), InspectionRow.id.desc())
                oldest = list(connection.execute(newest.limit(1)))
        return tuple(
            PruneCutoff(RetentionGroup(category, False), "images", oldest[0].at, oldest[0].id)
            for category in categories
        )

    def size_of(self, cut: PruneCutoff) -> CountAndBytes:
        """What a cut takes away."""
        statement = select(func.count(), func.sum(_size(cut.target))).where(*_before(cut))
        with self._transactions.reading() as connection:
            count, size = connection.execute(statement).one()
        return CountAndBytes(count, int(size or 0))

    def prune(self, cut: PruneCutoff, max_rows: int) -> CountAndBytes:
        """Take away the oldest of what a cut names, at most so many; their files become `pending_deletions`."""
        requested = (
            InspectionRow.id,
            InspectionRow.image_sha256,
            InspectionRow.image_suffix,
            InspectionRow.map_name,
            InspectionRow.stored_bytes,
            InspectionRow.thumbnail_bytes,
        )
        ordered = select(*requested).where(*_before(cut)).order_by(InspectionRow.at, InspectionRow.id)
        with self._transactions.writing() as connection:
            rows = connection.execute(ordered.limit(max_rows)).all()
            if not rows:
                return CountAndBytes(0, 0)
            which = InspectionRow.id.in_([row.id for row in rows])
            if cut.target == "inspections":
                connection.execute(delete(InspectionRow).where(which))
            else:
                connection.execute(update(InspectionRow).where(which).values(stored_bytes=None, map_name=None))
            _write_down(connection, [file for row in rows for file in _files(row, cut.target)])
        sizes = [row.thumbnail_bytes if cut.target == "inspections" else row.stored_bytes for row in rows]
        return CountAndBytes(len(rows), sum(size or 0 for size in sizes))

    def pending(self) -> CountAndBytes:
        """The files that are to be deleted."""
        statement = select(func.count(), func.sum(DiscardRow.bytes))
        with self._transactions.reading() as connection:
            count, size = connection.execute(statement).one()
        return CountAndBytes(count, int(size or 0))

    def pending_deletions(self, max_files: int) -> tuple[str, ...]:
        """Some of the files that are to be deleted, at most so many: paths in the data folder.

        One may be needed again by now: `OrphanDeleter.delete` spares it then.
        """
        with self._transactions.reading() as connection:
            return tuple(connection.scalars(select(DiscardRow.path).limit(max_files)))

    def confirm_deleted(self, paths: Collection[str]) -> None:
        """Strike out files that have been deleted, or are needed again."""
        with self._transactions.writing() as connection:
            connection.execute(delete(DiscardRow).where(DiscardRow.path.in_(paths)))


def _within(kind: RetentionGroup, target: PruneTarget) -> tuple[ColumnElement[bool], ...]:
    conditions = (InspectionRow.category == kind.category, InspectionRow.defect == kind.defect)
    return conditions if target == "inspections" else (*conditions, HAS_IMAGE)


def _before(cut: PruneCutoff) -> tuple[ColumnElement[bool], ...]:
    last = tuple_(literal(cut.timestamp, UtcDateTime()), literal(cut.id))
    return (*_within(cut.group, cut.target), tuple_(InspectionRow.at, InspectionRow.id) <= last)


def _size(target: PruneTarget) -> InstrumentedAttribute[int | None]:
    return InspectionRow.thumbnail_bytes if target == "inspections" else InspectionRow.stored_bytes


def _reaching(
    connection: Connection,
    conditions: Iterable[ColumnElement[bool]],
    size: InstrumentedAttribute[int | None],
    bytes_to_free: int,
) -> list[Row[Any]]:
    """The inspection with which the oldest together have so many bytes; empty when all have not."""
    order = (InspectionRow.at, InspectionRow.id)
    running = func.sum(size).over(order_by=order, rows=(None, 0)).label("running")
    running_sums = select(*order, running).where(*conditions).subquery()
    statement = (
        select(running_sums.c.at, running_sums.c.id)
        .where(running_sums.c.running >= bytes_to_free)
        .order_by(running_sums.c.at, running_sums.c.id)
        .limit(1)
    )
    return list(connection.execute(statement))


def _files(row: Any, target: PruneTarget) -> list[tuple[str, int]]:
    """The files that an inspection ceases to name, and their bytes; a map counts with its image."""
    files = []
    if row.stored_bytes is not None and row.image_sha256 is not None and row.image_suffix is not None:
        files.append((original_path(row.image_sha256, row.image_suffix), row.stored_bytes))
    if row.map_name is not None:
        files.append((f"inspections/{row.map_name}", 0))
    if target == "inspections" and row.thumbnail_bytes is not None:
        files.append((f"inspections/{thumbnail_name(row.id)}", row.thumbnail_bytes))
    return files


def _write_down(connection: Connection, files: list[tuple[str, int]]) -> None:
    pending = set(connection.scalars(select(DiscardRow.path).where(DiscardRow.path.in_([path for path, _ in files]))))
    fresh = {path: size for path, size in files if path not in pending}
    if fresh:
        connection.execute(insert(DiscardRow), [{"path": path, "bytes": size} for path, size in fresh.items()])
