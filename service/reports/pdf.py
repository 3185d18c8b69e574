"""Lays a report out as PDF, with reportlab."""

from __future__ import annotations

import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from service.reports.fonts import BOLD, REGULAR, is_shown, register_fonts, runs
from service.reports.report import Report, ReportedPart

_IMAGE = 34 * mm  # the longer side
_MARGIN = 14 * mm
_BAR = 70 * mm  # a bar of all defects
_NOT_SHOWN = "A “?” also stands for each character that this PDF has no font for. The HTML report has them all."
_PART_COLUMNS = ("Image", "Heat map", "Part", "Result", "Label and comment")
_HINT, _LINE, _RED = HexColor("#47566a"), HexColor("#d5dce3"), HexColor("#b3261e")
_TEXT = ParagraphStyle("text", fontName=REGULAR, fontSize=8.5, leading=11.5, wordWrap="CJK")
_SMALL = ParagraphStyle("small", parent=_TEXT, textColor=_HINT)
_HEAD = ParagraphStyle("head", parent=_TEXT, fontName=BOLD, textColor=_HINT)
_TITLE = ParagraphStyle("title", parent=_TEXT, fontName=BOLD, fontSize=18, leading=24)
_SECTION = ParagraphStyle("section", parent=_TEXT, fontName=BOLD, fontSize=12, leading=16, spaceBefore=14, spaceAfter=4)
_YIELD = ParagraphStyle("yield", parent=_TITLE, fontSize=24, leading=32)
_LINES = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.5, _LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
    ]
)


def render_pdf(report: Report) -> bytes:
    """The report on pages of A4."""
    register_fonts()
    rl_config.useA85 = 0  # images as bytes, not as text, which takes longer and is larger
    file = io.BytesIO()
    margins = {f"{side}Margin": _MARGIN for side in ("left", "right", "top", "bottom")}
    document = SimpleDocTemplate(file, pagesize=A4, title="Inspection report", author="Touchstone", **margins)
    document.build([*_summary(report), *_pareto(report), *_parts(report)], onFirstPage=_number, onLaterPages=_number)
    return file.getvalue()


def _summary(report: Report) -> list[Flowable]:
    selection = report.selection or (("", "All inspections."),)
    shown = all(is_shown(text, REGULAR) for text in report.texts)
    return [
        _text("Inspection report", _TITLE),
        _text(f"Made {report.time(report.made_at)} by Touchstone.", _SMALL),
        *([] if shown else [_text(_NOT_SHOWN, _SMALL)]),
        _text("Selection", _SECTION),
        _facts(selection),
        _text("Yield", _SECTION),
        _text(report.yield_text, _YIELD),
        _text("A person's label overrides the verdict; parts without a threshold are not counted.", _SMALL),
        Spacer(1, 2 * mm),
        _facts(report.figures),
    ]


def _pareto(report: Report) -> list[Flowable]:
    title = _text("Confirmed defects by class", _SECTION)
    if not report.pareto.bars:
        return [title, _text("No defect is confirmed.")]
    rows: list[list[Flowable]] = [[_text(name, _HEAD) for name in ("Class", "", "Defects", "Share", "Cumulative")]]
    for bar in report.pareto.bars:
        drawn = Table([[""]], colWidths=[max(0.5, bar.share * _BAR)], rowHeights=[9], hAlign="LEFT")
        drawn.setStyle(TableStyle([("BACKGROUND", (0, 0), (-1, -1), _RED)]))
        name = "Without a class" if bar.defect_class is None else bar.defect_class
        shares = (f"{100 * bar.share:.1f} %", f"{100 * bar.cumulative_share:.1f} %")
        rows.append([_text(name), drawn, _text(str(bar.count)), *map(_text, shares)])
    return [title, _table(rows, [48 * mm, _BAR + 6, 18 * mm, 20 * mm, 22 * mm])]


def _parts(report: Report) -> list[Flowable]:
    flow: list[Flowable] = [_text("Defective parts", _SECTION)]
    if report.left_out is not None:
        flow.append(_text(report.left_out))
    if not report.parts:
        return [*flow, _text("None.")]
    widths = [_IMAGE + 6, _IMAGE + 6, 46 * mm, 26 * mm, 38 * mm]
    flow.append(_table([[_text(name, _HEAD) for name in _PART_COLUMNS]], widths))
    # A table for each: dividing one table among pages takes time that grows with the square of its rows.
    return [*flow, *(_table([_row(report, part)], widths) for part in report.parts)]


def _row(report: Report, part: ReportedPart) -> list[Flowable | list[Flowable]]:
    inspection = part.inspection
    named = [name for name in (inspection.part_id, inspection.filename) if name]
    where = [report.time(inspection.at), inspection.station, inspection.category]
    scores = [f"score {inspection.score:.4f}"]
    if inspection.threshold is not None:
        scores.append(f"threshold {inspection.threshold:.4f}")
    return [
        _image(part.image),
        _image(part.heat),
        [*map(_text, named), *(_text(text, _SMALL) for text in where if text)],
        [_text(part.verdict), *(_text(text, _SMALL) for text in scores)],
        [_text(text) for text in (part.said, inspection.comment) if text],
    ]


def _image(data: bytes | None) -> Flowable:
    if data is None:
        return _text("no longer stored", _SMALL)
    return Image(io.BytesIO(data), _IMAGE, _IMAGE, kind="proportional", hAlign="LEFT")


def _text(text: str, style: ParagraphStyle = _TEXT) -> Paragraph:
    """Text in fonts that have its characters."""
    own = style.fontName
    marked = (
        escape(run) if font is None else f'<font name="{font}">{escape(run)}</font>' for font, run in runs(text, own)
    )
    return Paragraph("".join(marked), style)


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    return _table([[_text(name, _HEAD), _text(value)] for name, value in rows], [60 * mm, 100 * mm])


def _table(rows: Sequence[Sequence[object]], widths: Sequence[float]) -> Table:
    table = Table(rows, colWidths=widths, hAlign="LEFT")
    table.setStyle(_LINES)
    return table


def _number(canvas: Canvas, _: object) -> None:
    canvas.setFont(REGULAR, 8)
    canvas.drawRightString(A4[0] - _MARGIN, 8 * mm, str(canvas.getPageNumber()))
