"""Decisions and records as JSON, the same for every sink."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from touchstone_line_agent.parts import Decided, Part, Record


def decision(part: Part, decided: Decided) -> dict[str, Any]:
    """What a gate is told. `key` and `sequence` are the same however often it is sent."""
    return {
        "key": part.key, "sequence": part.sequence, "station": part.station, "part_id": part.part_id,
        "decision": decided.decision, "because": decided.because, "after_ms": decided.after_ms,
    }  # fmt: skip


def record(each: Record) -> dict[str, Any]:
    """All that is known of a part. `key` is the same however often it is sent.

    not_sent: by gate, why it could not be told the decision in time.
    """
    finding = each.finding
    return {
        **decision(each.part, each.decided),
        "not_sent": dict(each.decided.not_sent),
        "taken_at": taken_at(each.part),
        "filename": each.part.filename,
        "outcome": finding.outcome,
        "verdict": finding.verdict,
        "score": finding.score,
        "threshold": finding.threshold,
        "category": finding.category,
        "inspection_id": finding.inspection_id,
        "detail": finding.detail,
    }


def taken_at(part: Part) -> str:
    """When the picture was taken, ISO 8601 in UTC."""
    return datetime.fromtimestamp(part.taken_at, UTC).isoformat()
