"""What a report tells, before it is laid out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

from indexer.domain.inspection import Inspection, InspectionFilter
from indexer.domain.inspection_counts import InspectionCounts
from indexer.domain.pareto import Pareto
from indexer.domain.verdict import VERDICTS

_VERDICTS = {
    "normal": "Normal",
    "anomalous": "Anomalous",
    "unfamiliar": "Unknown part",
    "uncalibrated": "Not calibrated",
}
_LABELS = {None: "", "good": "Marked as good", "defect": "Defect confirmed"}
_FILTERS = {
    "category": "Category",
    "verdict": "Verdict",
    "station": "Station",
    "part_id": "Part",
    "label": "Label",
    "defect_class": "Defect class",
    "text": "Text",
}


@dataclass(frozen=True)
class ReportedPart:
    """A defective part. image, heat: JPEG, small, without and with its heat map; None when it is no longer stored."""

    inspection: Inspection
    image: bytes | None
    heat: bytes | None

    @property
    def verdict(self) -> str:
        """In words."""
        return _VERDICTS[self.inspection.verdict]

    @property
    def said(self) -> str:
        """Label and class in words."""
        return ": ".join(filter(None, (_LABELS[self.inspection.label], self.inspection.defect_class)))


@dataclass(frozen=True)
class Report:
    """How the matching inspections went. parts: the newest of those that count as defects. made_at: UTC.

    zone: in which times are written.
    """

    matching: InspectionFilter
    zone: tzinfo
    made_at: datetime
    counts: InspectionCounts
    pareto: Pareto
    parts: tuple[ReportedPart, ...]

    @property
    def selection(self) -> tuple[tuple[str, str], ...]:
        """Which inspections it is about: names and values."""
        chosen = [
            (text, str(value)) for name, text in _FILTERS.items() if (value := getattr(self.matching, name)) is not None
        ]
        since, until = self.matching.since, self.matching.until
        span = [("From", since), ("Before", until)]
        return (*chosen, *((text, self.time(at)) for text, at in span if at is not None))

    @property
    def texts(self) -> Iterator[str]:
        """What people and machines have named, in any script."""
        yield from (value for _, value in self.selection)
        yield from (bar.defect_class for bar in self.pareto.bars if bar.defect_class is not None)
        for part in self.parts:
            inspection = part.inspection
            named = (
                inspection.part_id,
                inspection.filename,
                inspection.station,
                inspection.category,
                inspection.defect_class,
                inspection.comment,
            )
            yield from filter(None, named)

    @property
    def figures(self) -> tuple[tuple[str, str], ...]:
        """Counts: names and values."""
        counts = self.counts
        return (
            ("Inspections", str(counts.total)),
            *((_VERDICTS[verdict], str(counts.with_verdict(verdict))) for verdict in VERDICTS),
            ("Defects confirmed", str(counts.with_label("defect"))),
            ("of these, passed (escapes)", str(counts.escapes)),
            ("Marked as good", str(counts.with_label("good"))),
            ("of these, rejected (false rejects)", str(counts.false_rejects)),
        )

    @property
    def yield_text(self) -> str:
        """The yield in per cent."""
        share = self.counts.yield_share
        return "not known" if share is None else f"{100 * share:.2f} %"

    @property
    def left_out(self) -> str | None:
        """What the table of parts does not show, as a sentence; None when it shows everything."""
        missing = self.counts.defects - len(self.parts)
        if missing <= 0:
            return None
        return f"The newest {len(self.parts)} of {self.counts.defects} are shown; {missing} older ones are left out."

    def time(self, at: datetime) -> str:
        """A time in the report's zone."""
        return at.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S %Z")
