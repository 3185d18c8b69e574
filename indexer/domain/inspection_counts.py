"""How the inspections of a lot or a shift went, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from indexer.domain.inspection import Label
from indexer.domain.labelled_set import REJECTING


@dataclass(frozen=True)
class InspectionCounts:
    """How many inspections have each verdict and label. by_outcome: (verdict, label) → count."""

    by_outcome: Mapping[tuple[str, Label | None], int]

    @property
    def total(self) -> int:
        """All inspections."""
        return sum(self.by_outcome.values())

    def with_verdict(self, *verdicts: str) -> int:
        """Those with one of these verdicts, whatever their label."""
        return sum(count for (verdict, _), count in self.by_outcome.items() if verdict in verdicts)

    def with_label(self, label: Label) -> int:
        """Those that a person gave this label."""
        return sum(count for (_, said), count in self.by_outcome.items() if said == label)

    @property
    def false_rejects(self) -> int:
        """Rejected parts that a person marked as good."""
        return sum(self.by_outcome.get((verdict, "good"), 0) for verdict in REJECTING)

    @property
    def escapes(self) -> int:
        """Parts that passed and were confirmed as defects."""
        return self.by_outcome.get(("normal", "defect"), 0)

    @property
    def defects(self) -> int:
        """Parts that count as defects: by their label, also one that waits for review, else by their verdict."""
        return self.with_label("defect") + sum(self.by_outcome.get((verdict, None), 0) for verdict in REJECTING)

    @property
    def yield_share(self) -> float | None:
        """The share of good parts: a label overrides the verdict; `uncalibrated` without a label is not counted."""
        good = self.with_label("good") + self.by_outcome.get(("normal", None), 0)
        return good / (good + self.defects) if good + self.defects else None
