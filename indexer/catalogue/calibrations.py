"""What each category's verdicts rest on: its calibration, and the drift test that its inspections count in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from indexer.catalogue.database import Transactions
from indexer.catalogue.models import CalibrationRow, CategoryRow, DriftRow
from indexer.catalogue.queries import id_of_category, now
from indexer.catalogue.records import Inspection, KeptCalibration, KeptDrift
from indexer.verdicts.drift import GAMBLERS, Drift


class Calibrations:
    """The calibrations and drift tests of one data folder's categories."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read(self, category: str, memory_id: int, newer_than: int = -1) -> KeptCalibration | None:
        """What is kept of a category's calibration in a memory, if it is of a newer snapshot than this version."""
        with self._transactions.reading() as connection:
            row = connection.execute(
                select(CalibrationRow.version, CalibrationRow.state)
                .join(CategoryRow, CategoryRow.id == CalibrationRow.category_id)
                .where(CategoryRow.name == category, CalibrationRow.memory_id == memory_id)
                .where(CalibrationRow.version > newer_than)
            ).one_or_none()
        return None if row is None else KeptCalibration(row.version, row.state)

    def keep(self, category: str, memory_id: int, kept: KeptCalibration) -> None:
        """Keep a calibration in the place of an older one; one of a newer snapshot stays. UnknownCategory."""
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            one = (CalibrationRow.category_id == category_id) & (CalibrationRow.memory_id == memory_id)
            found = connection.scalar(select(CalibrationRow.version).where(one))
            values = {"version": kept.version, "at": now(), "state": kept.state}
            if found is None:
                key = {"category_id": category_id, "memory_id": memory_id}
                connection.execute(insert(CalibrationRow).values(**key, **values))
            elif found <= kept.version:
                connection.execute(update(CalibrationRow).where(one).values(**values))

    def drifts(self) -> dict[str, KeptDrift]:
        """Every category's drift test, by name; none before a category's first calibrated inspection."""
        with self._transactions.reading() as connection:
            rows = connection.execute(
                select(CategoryRow.name, DriftRow.__table__)
                .join(CategoryRow, CategoryRow.id == DriftRow.category_id)
                .where(CategoryRow.removed_at.is_(None))
            )
            return {row.name: _drift(row) for row in rows}

    def restart_drift(self, category: str) -> None:
        """Begin a category's drift test anew, with its flag lowered. UnknownCategory."""
        with self._transactions.writing() as connection:
            connection.execute(delete(DriftRow).where(DriftRow.category_id == id_of_category(connection, category)))


def _drift(row: Row[Any]) -> KeptDrift:
    state = {**row.state, "counts": tuple(row.state["counts"]), "capitals": tuple(row.state["capitals"])}
    drift = Drift(**state) if len(state["capitals"]) == GAMBLERS else Drift()  # an earlier release's begins anew
    return KeptDrift(row.calibration_key, row.version, row.started_at, row.flagged_at, drift)


def count_drift(connection: Connection, inspections: Iterable[Inspection]) -> None:
    """Let each inspection that was calibrated count in its category's drift test.

    The test is of one calibration: it begins anew with another one, and inspections by one that was left behind do not
    count.
    """
    by_basis: dict[tuple[str, str, int, int], list[float]] = {}
    for each in inspections:
        if each.category and each.p_value is not None and each.calibration_key and each.calibration_size:
            basis = (each.category, each.calibration_key, each.calibration_size, each.version)
            by_basis.setdefault(basis, []).append(each.p_value)
    for (category, key, size, version), p_values in by_basis.items():
        category_id = connection.scalar(
            select(CategoryRow.id).where(CategoryRow.name == category, CategoryRow.removed_at.is_(None))
        )
        if category_id is None:
            continue
        row = connection.execute(select(DriftRow.__table__).where(DriftRow.category_id == category_id)).one_or_none()
        at = now()
        kept = KeptDrift(key, version, at, None, Drift()) if row is None else _drift(row)
        if kept.calibration_key != key:
            if version < kept.version:
                continue
            kept = KeptDrift(key, version, at, None, Drift())
        drift = kept.drift.after(p_values, size)
        values = {
            "calibration_key": key, "version": kept.version, "started_at": kept.started_at, "state": asdict(drift),
            "flagged_at": kept.flagged_at or (at if drift.drifting else None),
        }  # fmt: skip
        if row is None:
            connection.execute(insert(DriftRow).values(category_id=category_id, **values))
        else:
            connection.execute(update(DriftRow).where(DriftRow.category_id == category_id).values(**values))
