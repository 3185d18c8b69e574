"""Inspections as CSV, streamed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime

from indexer.domain.inspection import Inspection

_COLUMNS = (
    "id",
    "at",
    "filename",
    "category",
    "verdict",
    "score",
    "threshold",
    "p_value",
    "version",
    "part_id",
    "station",
    "label",
    "labelled_at",
    "promoted_reference_id",
    "defect_class",
    "comment",
)
_PART_SIZE = 1 << 16  # characters sent together: each part costs a change of threads


def csv_parts(inspections: Iterator[Inspection]) -> Iterator[str]:
    """Inspections as CSV with a header line, in parts of about 64 Ki characters."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(_COLUMNS)
    for inspection in inspections:
        writer.writerow([_cell(getattr(inspection, column)) for column in _COLUMNS])
        if lines.tell() > _PART_SIZE:
            yield lines.getvalue()
            lines.seek(0)
            lines.truncate()
    yield lines.getvalue()


def _cell(value: object) -> str:
    """A cell's text. Spreadsheets run text that begins like a formula: a quote mark keeps it text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
