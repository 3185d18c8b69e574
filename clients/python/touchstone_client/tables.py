"""Prints models: as a table for people, as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any


def format_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under headings, in aligned columns; numbers are right-aligned."""
    texts = [[format_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headings, *texts, strict=True)]
    numeric = [
        bool(rows) and all(isinstance(row[column], int | float | None) for row in rows) for column in range(len(widths))
    ]

    def line(cells: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(cells, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(headings), *map(line, texts)])


def format_cell(value: object) -> str:
    """One value's text."""
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.4f}"
        case datetime():
            return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        case _:
            return str(value)


def format_json(value: object, *, indent: int | None = 2) -> str:
    """A model, or several, as JSON with the API's field names, to be printed; times are ISO 8601."""

    def serialize(item: Any) -> Any:
        if is_dataclass(item) and not isinstance(item, type):
            return asdict(item)
        if isinstance(item, datetime):
            return item.isoformat()
        raise TypeError(type(item).__name__)

    has_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return json.dumps(value, default=serialize, indent=indent, ensure_ascii=not has_unicode)
