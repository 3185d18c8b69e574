"""Geometries of categories: the active one, and one whose references are still being encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnExpressionArgument, Connection, Row, delete, exists, func, insert, select, update

from indexer.catalogue.audit import note
from indexer.catalogue.calibrations import add_calibration, forget_calibrations
from indexer.catalogue.coreset_rows import request_again
from indexer.catalogue.live_references import LIVE, live_ids
from indexer.catalogue.placements import encoded_ids, encoded_in, grouped_by_segment, record_segment
from indexer.catalogue.queries import id_of_category, now
from indexer.catalogue.tables import (
    AdaptationRow,
    CalibrationRow,
    CategoryGeometryRow,
    CategoryRow,
    ChangeRow,
    CoresetRow,
    MemoryRow,
    PlacementRow,
    ReferenceRow,
    SegmentRow,
)
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.versions import commit_version, version_of
from indexer.domain.errors import GeometryNotFound, MemoryIncomplete
from indexer.domain.leave_one_out import StoredCalibration
from indexer.domain.snapshot import GeometryChange, GeometryRecord, SegmentFile, SegmentRows


class Geometries:
    """The geometries of one data folder's categories. They are JSON here, compared as text."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def active(self, memory_id: int) -> dict[str, str]:
        """The active geometry of every category that has one in a memory, by name."""
        with self._transactions.reading() as connection:
            return active_geometries(connection, memory_id)

    def of(self, memory_id: int, category: str) -> str | None:
        """The active geometry of a category in a memory, also of one that was removed; None of one that has none."""
        within = (CategoryGeometryRow.memory_id == memory_id, CategoryGeometryRow.active, CategoryRow.name == category)
        with self._transactions.reading() as connection:
            return connection.scalar(
                select(CategoryGeometryRow.geometry)
                .join(CategoryRow, CategoryRow.id == CategoryGeometryRow.category_id)
                .where(*within)
            )

    def ensure(self, memory_id: int, category: str, geometry_json: str) -> GeometryRecord:
        """A category's active geometry in a memory, whatever it is; this one when it has none. CategoryNotFound."""
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            return _find(connection, ensure_geometry(connection, memory_id, category_id, geometry_json))

    def prepare(self, memory_id: int, category: str, geometry_json: str) -> GeometryRecord | None:
        """Begin to replace a category's active geometry: `place` every reference, then `activate`. CategoryNotFound.

        An unfinished change to the same geometry continues; one to another geometry is cancelled. If this geometry is
        already active, the result is None.
        """
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            within = (CategoryGeometryRow.memory_id == memory_id, CategoryGeometryRow.category_id == category_id)
            rows = connection.execute(select(CategoryGeometryRow.__table__).where(*within)).all()
            present = next((row for row in rows if row.active), None)
            begun = None
            for row in rows:
                if row.active or row.activated_version is not None:
                    continue
                if row.geometry == geometry_json and (present is None or present.geometry != geometry_json):
                    begun = row
                else:
                    _retire(connection, CategoryGeometryRow.id == row.id)
                    connection.execute(delete(CategoryGeometryRow).where(CategoryGeometryRow.id == row.id))
            if present is not None and present.geometry == geometry_json:
                return None
            if begun is not None:
                return _find(connection, begun.id)
            before = {} if present is None else {"geometry": present.geometry}
            note(connection, "geometry.requested", category, before, {"geometry": geometry_json})
            return _find(connection, _insert(connection, memory_id, category_id, geometry_json))

    def changes(self, memory_id: int) -> tuple[GeometryChange, ...]:
        """The changes under way in a memory, oldest first."""
        references = (
            select(func.count())
            .where(ReferenceRow.category_id == CategoryGeometryRow.category_id, LIVE)
            .correlate(CategoryGeometryRow)
            .scalar_subquery()
        )
        encoded = (
            select(func.count())
            .select_from(PlacementRow)
            .join(ReferenceRow, ReferenceRow.id == PlacementRow.reference_id)
            .where(PlacementRow.geometry_id == CategoryGeometryRow.id, LIVE)
            .correlate(CategoryGeometryRow)
            .scalar_subquery()
        )
        pending = (
            CategoryGeometryRow.memory_id == memory_id,
            CategoryGeometryRow.activated_version.is_(None),
            CategoryRow.removed_at.is_(None),
        )
        statement = (
            select(CategoryGeometryRow.__table__, CategoryRow.name, encoded.label("encoded"), references.label("held"))
            .join(CategoryRow, CategoryRow.id == CategoryGeometryRow.category_id)
            .where(*pending)
            .order_by(CategoryGeometryRow.id)
        )
        with self._transactions.reading() as connection:
            return tuple(GeometryChange(_record(row), row.encoded, row.held) for row in connection.execute(statement))

    def segments(self, geometry_id: int) -> tuple[SegmentRows, ...]:
        """Where the live references of a category lie under a geometry, active or not."""
        with self._transactions.reading() as connection:
            rows = connection.execute(
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
                .where(PlacementRow.geometry_id == geometry_id, LIVE)
                .order_by(SegmentRow.id, PlacementRow.row)
            )
            return grouped_by_segment(rows)

    def note_error(self, geometry_id: int, error: str | None) -> None:
        """Keep why the references of a change cannot be encoded; None once they can."""
        with self._transactions.writing() as connection:
            connection.execute(
                update(CategoryGeometryRow).where(CategoryGeometryRow.id == geometry_id).values(error=error)
            )

    def place(self, geometry_id: int, segment: SegmentFile, rows: Mapping[int, int]) -> int:
        """Record a segment of references encoded under a geometry. Raises GeometryNotFound.

        rows: reference id → row of the segment. References removed meanwhile, or placed already, are ignored, as when
        another process has finished the same change. Returns how many were placed; with none, the segment is not
        recorded. Raises ValueError for others, of a geometry that is being served.
        """
        with self._transactions.writing() as connection:
            row = _row(connection, geometry_id)
            requested = live_ids(connection, rows) - encoded_ids(connection, geometry_id, rows)
            if requested:
                if row.active and row.served:
                    raise ValueError("references enter the memory being served through append")
                placed = {key: (geometry_id, rows[key]) for key in sorted(requested)}
                record_segment(connection, row.memory_id, segment, placed)
            return len(requested)

    def activate(self, geometry_id: int, calibration: StoredCalibration | None = None) -> int:
        """Switch a category to another geometry as of the returned version, and remove the earlier one.

        calibration: the category's leave-one-out results under it, stored as of that version. The category's coreset is
        of the earlier one: it is asked for anew. Raises GeometryNotFound, and MemoryIncomplete while live references of
        the category are not encoded.
        """
        with self._transactions.writing() as connection:
            row = _row(connection, geometry_id)
            missing = connection.scalars(
                select(ReferenceRow.id)
                .where(ReferenceRow.category_id == row.category_id, LIVE, ~encoded_in(geometry_id))
                .order_by(ReferenceRow.id)
                .limit(10)
            ).all()
            if missing:
                raise MemoryIncomplete(row.memory_id, missing)
            if row.active:
                return version_of(connection)
            version = commit_version(connection, "geometry", row.memory_id, {"category": row.name})
            earlier = (
                CategoryGeometryRow.memory_id == row.memory_id,
                CategoryGeometryRow.category_id == row.category_id,
                CategoryGeometryRow.active,
            )
            before = connection.scalars(select(CategoryGeometryRow.geometry).where(*earlier)).one_or_none()
            _retire(connection, *earlier)
            connection.execute(update(CategoryGeometryRow).where(*earlier).values(active=False))
            connection.execute(
                update(CategoryGeometryRow)
                .where(CategoryGeometryRow.id == geometry_id)
                .values(active=True, activated_version=version, error=None)
            )
            of_memory = CoresetRow.memory_id.is_(None) | (CoresetRow.memory_id == row.memory_id)
            request_again(connection, CoresetRow.category_id == row.category_id, of_memory)
            if calibration is not None:
                add_calibration(connection, row.category_id, row.memory_id, replace(calibration, version=version))
            was = {} if before is None else {"geometry": before}
            note(connection, "geometry.changed", row.name, was, {"geometry": row.geometry, "version": version})
            return version

    def changed_since(self, category: str, version: int) -> bool:
        """Whether a category has got another geometry since a version."""
        changes = select(ChangeRow.detail).where(ChangeRow.kind == "geometry", ChangeRow.version > version)
        with self._transactions.reading() as connection:
            return any(detail["category"] == category for detail in connection.scalars(changes))


def active_geometries(connection: Connection, memory_id: int) -> dict[str, str]:
    """See `Geometries.active`."""
    statement = (
        select(CategoryRow.name, CategoryGeometryRow.geometry)
        .join(CategoryRow, CategoryRow.id == CategoryGeometryRow.category_id)
        .where(CategoryGeometryRow.memory_id == memory_id, CategoryGeometryRow.active, CategoryRow.removed_at.is_(None))
    )
    return {row.name: row.geometry for row in connection.execute(statement)}


def ensure_geometry(
    connection: Connection, memory_id: int, category_id: int, geometry_json: str, version: int = 0
) -> int:
    """The id of a category's active geometry; this one, from `version` on, when it has none."""
    within = (CategoryGeometryRow.memory_id == memory_id, CategoryGeometryRow.category_id == category_id)
    geometry_id = connection.scalar(select(CategoryGeometryRow.id).where(*within, CategoryGeometryRow.active))
    return (
        geometry_id if geometry_id is not None else _insert(connection, memory_id, category_id, geometry_json, version)
    )


def geometry_of(connection: Connection, geometry_id: int) -> str:
    """A geometry, as JSON."""
    return connection.execute(
        select(CategoryGeometryRow.geometry).where(CategoryGeometryRow.id == geometry_id)
    ).scalar_one()


def forget_geometries(connection: Connection, category_id: int) -> None:
    """Let a category begin anew: the references that it had are removed, and what it gets next decides its geometry."""
    which = (CategoryGeometryRow.category_id == category_id,)
    _retire(connection, *which)
    connection.execute(update(CategoryGeometryRow).where(*which).values(active=False, activated_version=0))


def _insert(
    connection: Connection, memory_id: int, category_id: int, geometry_json: str, version: int | None = None
) -> int:
    """A new geometry, active when it comes with the version that it is active from."""
    values = {
        "memory_id": memory_id,
        "category_id": category_id,
        "geometry": geometry_json,
        "created_at": now(),
        "active": version is not None,
        "activated_version": version,
    }
    return connection.execute(
        insert(CategoryGeometryRow).values(**values).returning(CategoryGeometryRow.id)
    ).scalar_one()


def _retire(connection: Connection, *which: ColumnExpressionArgument[bool]) -> None:
    """Forget where references lie under some geometries, the segments that hold nothing else, and calibrations."""
    rows = connection.execute(select(CategoryGeometryRow.__table__).where(*which)).all()
    for row in rows:
        connection.execute(delete(PlacementRow).where(PlacementRow.geometry_id == row.id))
        if row.active:
            of_category = (CalibrationRow.category_id == row.category_id) & (CalibrationRow.memory_id == row.memory_id)
            forget_calibrations(connection, of_category)
            connection.execute(
                delete(AdaptationRow).where(
                    AdaptationRow.category_id == row.category_id, AdaptationRow.memory_id == row.memory_id
                )
            )
    memories = {row.memory_id for row in rows}
    connection.execute(
        update(SegmentRow)
        .where(
            SegmentRow.memory_id.in_(memories),
            SegmentRow.retired_at.is_(None),
            ~exists().where(PlacementRow.segment_id == SegmentRow.id),
        )
        .values(retired_at=now())
    )


def _row(connection: Connection, geometry_id: int) -> Row[Any]:
    row = connection.execute(
        select(CategoryGeometryRow.__table__, CategoryRow.name, MemoryRow.active.label("served"))
        .join(CategoryRow, CategoryRow.id == CategoryGeometryRow.category_id)
        .join(MemoryRow, MemoryRow.id == CategoryGeometryRow.memory_id)
        .where(CategoryGeometryRow.id == geometry_id)
    ).one_or_none()
    if row is None:
        raise GeometryNotFound(f"there is no geometry {geometry_id}")
    return row


def _find(connection: Connection, geometry_id: int) -> GeometryRecord:
    return _record(_row(connection, geometry_id))


def _record(row: Row[Any]) -> GeometryRecord:
    return GeometryRecord(row.id, row.name, row.geometry, row.created_at, row.active, row.error)
