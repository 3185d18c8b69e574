"""Decisions and records as JSON objects, the same for every sink."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from touchstone_line_agent.part import GateDecision, Part, Record


def decision_payload(part: Part, decision: GateDecision) -> dict[str, Any]:
    """What a gate receives. `key` and `sequence` stay the same when it is sent again."""
    return {
        "key": part.key,
        "sequence": part.sequence,
        "station": part.station,
        "part_id": part.part_id,
        "decision": decision.decision,
        "reason": decision.reason,
        "after_ms": decision.after_ms,
    }


def record_payload(record: Record) -> dict[str, Any]:
    """What a record sink receives. `key` stays the same when it is sent again.

    captured_at: ISO 8601 in UTC. not_sent: by gate, why it did not receive the decision in time.
    """
    result = record.result
    return {
        **decision_payload(record.part, record.decision),
        "not_sent": dict(record.decision.not_sent),
        "captured_at": datetime.fromtimestamp(record.part.captured_at, UTC).isoformat(),
        "filename": record.part.filename,
        "outcome": result.outcome,
        "verdict": result.verdict,
        "score": result.score,
        "threshold": result.threshold,
        "category": result.category,
        "inspection_id": result.inspection_id,
        "detail": result.detail,
    }
