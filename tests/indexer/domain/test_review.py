"""Why a part waits for review."""

from __future__ import annotations

import pytest

from indexer.domain.review import ReviewReason, review_reason


@pytest.mark.parametrize(
    ("verdict", "score", "threshold", "band", "reason"),
    [
        ("normal", 0.96, 1.0, 0.05, "near_threshold"),
        ("normal", 0.94, 1.0, 0.05, None),
        ("anomalous", 1.04, 1.0, 0.05, "near_threshold"),
        ("anomalous", 1.06, 1.0, 0.05, None),
        ("anomalous", 0.021, 0.02, 0.1, "near_threshold"),  # a share of the threshold, whatever scores there are
        ("normal", 1.0, 1.0, 0.0, None),
        ("normal", 0.0, 1.0, 1.0, "near_threshold"),
        ("unfamiliar", 9.0, 1.0, 0.0, "unfamiliar"),
        ("unfamiliar", 1.0, None, 0.05, "unfamiliar"),
        ("uncalibrated", 1.0, 1.0, 0.05, None),
        ("uncalibrated", 1.0, None, 0.05, None),
    ],
)
def test_a_part_waits_near_the_threshold_on_both_sides_or_when_it_is_unfamiliar(
    verdict: str, score: float, threshold: float | None, band: float, reason: ReviewReason | None
) -> None:
    assert review_reason(verdict, score, threshold, band) == reason
