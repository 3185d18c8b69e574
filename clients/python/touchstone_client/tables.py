"""Answers for a person at a terminal, and for a program that reads JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under headings, in columns; numbers to the right."""
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headings, *texts, strict=True)]
    right = [
        bool(rows) and all(isinstance(row[column], int | float | None) for row in rows) for column in range(len(widths))
    ]

    def line(cells: Sequence[str]) -> str:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(cells, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(headings), *map(line, texts)])


def cell(value: object) -> str:
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


def as_json(value: object, *, indent: int | None = 2) -> str:
    """A dataclass, or several, as JSON with the API's own names; times as ISO 8601."""

    def plain(each: Any) -> Any:
        if is_dataclass(each) and not isinstance(each, type):
            return asdict(each)
        if isinstance(each, datetime):
            return each.isoformat()
        raise TypeError(type(each).__name__)

    return json.dumps(value, default=plain, indent=indent, ensure_ascii=False)
