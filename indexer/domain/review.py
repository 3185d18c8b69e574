"""Which inspected parts an engineer reviews before their images may become references."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

ReviewReason: TypeAlias = Literal["near_threshold", "unfamiliar", "feedback"]
REVIEW_REASONS: tuple[ReviewReason, ...] = get_args(ReviewReason)

# good, defect: a label, and with `good` a reference. dismiss: neither. reopen: takes the decision back.
ReviewDecision: TypeAlias = Literal["good", "defect", "dismiss", "reopen"]


def review_reason(verdict: str, score: float, threshold: float | None, band: float) -> ReviewReason | None:
    """Why a part is to be reviewed by its verdict or its score; None where neither asks for it.

    band: half the width of the band around the threshold, as a share of the threshold, 0 to 1; with 0 no score is near.
    A part without a verdict (`uncalibrated`) is near nothing. The reason `feedback` is an operator's to give.
    """
    if verdict == "unfamiliar":
        return "unfamiliar"
    if verdict == "uncalibrated" or threshold is None or band == 0:
        return None
    return "near_threshold" if abs(score - threshold) <= band * threshold else None
