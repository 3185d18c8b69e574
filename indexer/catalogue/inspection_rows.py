"""Rows of the history as inspections: read one by one, in pages, and written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, literal, select, tuple_

from indexer.catalogue.base import UtcDateTime
from indexer.catalogue.queries import page_of
from indexer.catalogue.tables import InspectionRow
from indexer.domain.errors import InspectionNotFound, InvalidCursor
from indexer.domain.inspection import Inspection
from indexer.domain.page import Page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def inspection_of(row: Row[Any]) -> Inspection:
    """The inspection that a row of all columns holds."""
    values = {field.name: getattr(row, field.name) for field in fields(Inspection)}
    tuples = {name: tuple(values[name]) for name in ("regions", "references", "notices")}
    return Inspection(**{**values, **tuples})


def values_of(inspection: Inspection) -> dict[str, Any]:
    """An inspection as the values of a row's columns."""
    values = {field.name: getattr(inspection, field.name) for field in fields(Inspection)}
    values["defect"] = inspection.defect
    return {
        **values,
        "regions": list(inspection.regions),
        "references": list(inspection.references),
        "notices": list(inspection.notices),
    }


def find_inspection(connection: Connection, inspection_id: str) -> Inspection:
    """One inspection. Raises InspectionNotFound."""
    row = connection.execute(select(InspectionRow.__table__).where(InspectionRow.id == inspection_id)).one_or_none()
    if row is None:
        raise InspectionNotFound(f"there is no inspection {inspection_id}")
    return inspection_of(row)


def inspection_page(
    connection: Connection, conditions: Iterable[ColumnElement[bool]], cursor: str | None, limit: int
) -> Page[Inspection]:
    """The page of the inspections under all of these conditions that follows a cursor. Raises InvalidCursor."""
    statement = select(InspectionRow.__table__).order_by(InspectionRow.at.desc(), InspectionRow.id.desc())
    statement = statement.where(*conditions)
    if cursor is not None:
        at, last = _read_cursor(cursor)
        before = tuple_(literal(at, UtcDateTime()), literal(last))
        statement = statement.where(tuple_(InspectionRow.at, InspectionRow.id) < before)
    inspections = [inspection_of(row) for row in connection.execute(statement.limit(limit + 1))]
    return page_of(inspections, limit, lambda last: f"{(last.at - _EPOCH) // _MICROSECOND}-{last.id}")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    at, _, last = cursor.partition("-")
    try:
        return _EPOCH + int(at) * _MICROSECOND, last
    except (ValueError, OverflowError):
        raise InvalidCursor("not a cursor of inspections") from None
