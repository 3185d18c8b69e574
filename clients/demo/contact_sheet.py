"""Draws the result as one image: per product a good part, then defective parts beside their overlays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Bytes = NDArray[np.uint8]
_Rgb = tuple[int, int, int]

CELL = 208  # side of an image
_GAP = 6  # between a part and its overlay
_SPACE = 26  # between two parts
_MARGIN = 40
_HEADER = 104
_TITLE = 34  # line above a row
_CAPTION = 44  # lines under an image
_ROW_SPACE = 20

_BACKGROUND: _Rgb = (250, 250, 248)
_INK: _Rgb = (28, 32, 38)
_SOFT: _Rgb = (112, 118, 126)
_GOOD: _Rgb = (24, 122, 78)
_BAD: _Rgb = (190, 44, 38)
_OTHER: _Rgb = (170, 112, 16)
_RULE: _Rgb = (222, 222, 216)


@dataclass(frozen=True)
class Cell:
    """One inspected part: its photograph and, optionally, its overlay; both uint8 (h, w, 3) RGB."""

    title: str
    image: Bytes
    overlay: Bytes | None
    verdict: str
    score: float
    threshold: float | None


@dataclass(frozen=True)
class Row:
    """One product; `note`: text at the right end of its title line."""

    product: str
    note: str
    good: Cell
    defective: tuple[Cell, ...]


def size(rows: int, defects: int) -> tuple[int, int]:
    """Width and height in pixels of a sheet with so many rows, and defects per row."""
    width = 2 * _MARGIN + CELL + defects * (_SPACE + 2 * CELL + _GAP)
    height = _HEADER + rows * (_TITLE + CELL + _CAPTION + _ROW_SPACE) + _MARGIN // 2
    return width, height


def draw(title: str, subtitle: str, rows: Sequence[Row]) -> Bytes:
    """The sheet, uint8 (height, width, 3) RGB of `size(...)`; the end of a row with fewer defects stays empty."""
    width, height = size(len(rows), max((len(row.defective) for row in rows), default=0))
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    _text(pen, (_MARGIN, 30), title, 30, _INK)
    _text(pen, (_MARGIN, 68), subtitle, 15, _SOFT)
    y = _HEADER
    for row in rows:
        pen.line([(_MARGIN, y - 8), (width - _MARGIN, y - 8)], _RULE, 1)
        _text(pen, (_MARGIN, y), row.product, 18, _INK)
        font = ImageFont.load_default(14)
        _text(pen, (width - _MARGIN - int(font.getlength(row.note)), y + 3), row.note, 14, _SOFT)
        x = _MARGIN
        for cell in (row.good, *row.defective):
            x = _part(sheet, pen, (x, y + _TITLE), cell) + _SPACE
        y += _TITLE + CELL + _CAPTION + _ROW_SPACE
    return np.asarray(sheet)


def _part(sheet: Image.Image, pen: ImageDraw.ImageDraw, position: tuple[int, int], cell: Cell) -> int:
    """Draw one part with its caption; returns the x of its right edge."""
    x, y = position
    colour = {"normal": _GOOD, "anomalous": _BAD}.get(cell.verdict, _OTHER)
    right = x
    for image in (cell.image, cell.overlay):
        if image is not None:
            small = cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA)
            sheet.paste(Image.fromarray(small), (right, y))
            right += CELL + _GAP
    right -= _GAP
    pen.rectangle([x, y + CELL + 3, right - 1, y + CELL + 5], colour)
    _text(pen, (x, y + CELL + 10), cell.title, 14, _INK)
    threshold = "no threshold" if cell.threshold is None else f"threshold {cell.threshold:.3f}"
    _text(pen, (x, y + CELL + 28), f"{cell.verdict}", 13, colour)
    gap = int(ImageFont.load_default(13).getlength(cell.verdict)) + 10
    score = f"{cell.score:.3f}" if cell.overlay is None else f"{cell.score:.3f} / {threshold}"
    _text(pen, (x + gap, y + CELL + 28), score, 13, _SOFT)
    return right


def _text(pen: ImageDraw.ImageDraw, position: tuple[int, int], text: str, points: int, colour: _Rgb) -> None:
    pen.text(position, text, fill=colour, font=ImageFont.load_default(points))
