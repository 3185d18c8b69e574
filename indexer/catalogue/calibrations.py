"""Stored leave-one-out results of each category; its drift test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, tuple_, update

from indexer.catalogue.queries import batches, id_of_category, now
from indexer.catalogue.tables import CalibrationRow, CategoryRow, DriftRow, LeaveOneOutRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.drift import STRATEGIES, DriftMartingale, DriftPValues, DriftTest
from indexer.domain.inspection import Inspection
from indexer.domain.leave_one_out import StoredCalibration, StoredReferenceResult

_Conditions: TypeAlias = tuple[ColumnElement[bool], ColumnElement[bool]]


class Calibrations:
    """The calibrations and drift tests of one data folder's categories."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read(self, category: str, memory_id: int) -> StoredCalibration | None:
        """What is kept of a category's calibration in a memory."""
        with self._transactions.reading() as connection:
            header_row = connection.execute(
                select(CalibrationRow.__table__)
                .join(CategoryRow, CategoryRow.id == CalibrationRow.category_id)
                .where(CategoryRow.name == category, CalibrationRow.memory_id == memory_id)
            ).one_or_none()
            if header_row is None:
                return None
            rows = connection.execute(
                select(*(getattr(LeaveOneOutRow, field.name) for field in fields(StoredReferenceResult)))
                .where(LeaveOneOutRow.category_id == header_row.category_id, LeaveOneOutRow.memory_id == memory_id)
                .order_by(LeaveOneOutRow.reference_id)
            )
            references = tuple(StoredReferenceResult(**row._mapping) for row in rows)
            return StoredCalibration(
                header_row.version, header_row.k, header_row.rho, references, header_row.coreset_id
            )

    def store(
        self, category: str, memory_id: int, calibration: StoredCalibration, base: StoredCalibration | None = None
    ) -> None:
        """Keep a calibration in the place of an older one; one of a newer snapshot stays. CategoryNotFound.

        base: what it was made from. While that is what is kept, only references whose results differ are written.
        """
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            header, rows = _of(CalibrationRow, category_id, memory_id), _of(LeaveOneOutRow, category_id, memory_id)
            row = connection.execute(select(CalibrationRow.__table__).where(*header)).one_or_none()
            if row is not None and (row.version > calibration.version or _identity(row) == _identity(calibration)):
                return
            after = {reference.reference_id: reference for reference in calibration.references}
            before: dict[int, StoredReferenceResult] = {}
            if row is not None and base is not None and _identity(row) == _identity(base):
                before = {reference.reference_id: reference for reference in base.references}
                for batch in batches(key for key, reference in before.items() if after.get(key) != reference):
                    connection.execute(delete(LeaveOneOutRow).where(*rows, LeaveOneOutRow.reference_id.in_(batch)))
            else:
                connection.execute(delete(LeaveOneOutRow).where(*rows))
            keys = {"category_id": category_id, "memory_id": memory_id}
            for fresh in batches(reference for key, reference in after.items() if before.get(key) != reference):
                connection.execute(insert(LeaveOneOutRow), [{**keys, **vars(reference)} for reference in fresh])
            values = _header(calibration)
            if row is None:
                connection.execute(insert(CalibrationRow).values(**keys, **values))
            else:
                connection.execute(update(CalibrationRow).where(*header).values(**values))

    def drifts(self) -> dict[str, DriftTest]:
        """Every category's drift test, by name; none before a category's first calibrated inspection."""
        with self._transactions.reading() as connection:
            rows = connection.execute(
                select(CategoryRow.name, DriftRow.__table__)
                .join(CategoryRow, CategoryRow.id == DriftRow.category_id)
                .where(CategoryRow.removed_at.is_(None))
            )
            return {row.name: _drift(row) for row in rows}

    def restart_drift(self, category: str) -> None:
        """Begin a category's drift test anew, with its flag lowered. CategoryNotFound."""
        with self._transactions.writing() as connection:
            connection.execute(delete(DriftRow).where(DriftRow.category_id == id_of_category(connection, category)))


def add_calibration(connection: Connection, category_id: int, memory_id: int, calibration: StoredCalibration) -> None:
    """Keep the calibration of a category that has none in a memory."""
    keys = {"category_id": category_id, "memory_id": memory_id}
    connection.execute(insert(CalibrationRow).values(**keys, **_header(calibration)))
    for batch in batches(calibration.references):
        connection.execute(insert(LeaveOneOutRow), [{**keys, **vars(row)} for row in batch])


def forget_calibrations(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete kept calibrations with all that belongs to them. which: a condition on `CalibrationRow`."""
    stored = select(CalibrationRow.category_id, CalibrationRow.memory_id).where(which)
    connection.execute(
        delete(LeaveOneOutRow).where(tuple_(LeaveOneOutRow.category_id, LeaveOneOutRow.memory_id).in_(stored))
    )
    connection.execute(delete(CalibrationRow).where(which))


def _of(table: type[CalibrationRow] | type[LeaveOneOutRow], category_id: int, memory_id: int) -> _Conditions:
    return table.category_id == category_id, table.memory_id == memory_id


def _header(calibration: StoredCalibration) -> dict[str, Any]:
    return {
        "version": calibration.version,
        "at": now(),
        "k": calibration.k,
        "rho": calibration.rho,
        "coreset_id": calibration.coreset,
    }


def _identity(calibration: Row[Any] | StoredCalibration) -> tuple[int, int, int]:
    return calibration.version, calibration.k, calibration.rho


def _drift(row: Row[Any]) -> DriftTest:
    scores = _martingale(row.state.get("scores", row.state))  # an earlier release had no other
    scene = _martingale(row.state.get("scene", {}))
    return DriftTest(row.calibration_key, row.version, row.started_at, row.flagged_at, scores, scene)


def _martingale(stored: dict[str, Any]) -> DriftMartingale:
    if len(stored.get("capitals", ())) != STRATEGIES:
        return DriftMartingale()  # an earlier release's begins anew
    return DriftMartingale(**{**stored, "counts": tuple(stored["counts"]), "capitals": tuple(stored["capitals"])})


def count_drift(connection: Connection, inspections: Iterable[Inspection]) -> None:
    """Let each inspection that was calibrated count in its category's drift test.

    The test is of one calibration: it begins anew with another one, and inspections by one that was left behind do not
    count.
    """
    by_basis: dict[tuple[str, str, int, int], list[tuple[datetime, DriftPValues]]] = {}
    for inspection in inspections:
        if (
            inspection.category
            and inspection.p_value is not None
            and inspection.calibration_key
            and inspection.calibration_size
        ):
            basis = (inspection.category, inspection.calibration_key, inspection.calibration_size, inspection.version)
            scene = None if inspection.novelty is None else inspection.novelty.get("scene_p_value")
            counted = DriftPValues(inspection.p_value, cast(float | None, scene))
            by_basis.setdefault(basis, []).append((inspection.at, counted))
    for (category, key, size, version), parts in by_basis.items():
        category_id = connection.scalar(
            select(CategoryRow.id).where(CategoryRow.name == category, CategoryRow.removed_at.is_(None))
        )
        if category_id is None:
            continue
        row = connection.execute(select(DriftRow.__table__).where(DriftRow.category_id == category_id)).one_or_none()
        at = now()
        first = min(inspected for inspected, _ in parts)
        fresh = DriftTest(key, version, first, None, DriftMartingale(), DriftMartingale())
        stored = fresh if row is None else _drift(row)
        if stored.calibration_key != key:
            if version < stored.version:
                continue
            stored = fresh
        drift = stored.update([p_values for _, p_values in parts], size, at)
        values = {
            "calibration_key": key,
            "version": drift.version,
            "started_at": drift.started_at,
            "state": {"scores": asdict(drift.scores), "scene": asdict(drift.scene)},
            "flagged_at": drift.flagged_at,
        }
        if row is None:
            connection.execute(insert(DriftRow).values(category_id=category_id, **values))
        else:
            connection.execute(update(DriftRow).where(DriftRow.category_id == category_id).values(**values))
