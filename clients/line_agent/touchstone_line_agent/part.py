"""A part, its inspection and its decision, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["inspected", "refused", "no-image", "store-full"]


@dataclass(frozen=True)
class Part:
    """A captured part. key: its idempotency key; sequence: its number in this agent's store; captured_at: Unix s."""

    sequence: int
    key: str
    station: str
    part_id: str
    filename: str
    captured_at: float


@dataclass(frozen=True)
class InspectionResult:
    """The service's result for a part. outcome, detail: why there is no verdict, where there is none."""

    outcome: Outcome
    verdict: str | None = None
    score: float | None = None
    threshold: float | None = None
    category: str | None = None
    inspection_id: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class GateDecision:
    """The decision sent to the gates. reason: `late` and `restart` mean that none was sent.

    after_ms: from the trigger to the decision. not_sent: by sink, why it did not receive the decision in time.
    """

    decision: Literal["accept", "reject", "missed"]
    reason: Literal["verdict", "fail-safe", "late", "restart"]
    after_ms: float | None
    not_sent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A completed part: decided and inspected."""

    part: Part
    decision: GateDecision
    result: InspectionResult


@dataclass(frozen=True)
class PartStatus:
    """A part in its present state. rejected_by: by sink, why it rejected the record."""

    part: Part
    decision: GateDecision | None
    result: InspectionResult | None
    rejected_by: Mapping[str, str]
