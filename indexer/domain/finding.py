"""What screening can find wrong with an image that is to become a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FindingKind = Literal["near_duplicate", "outlier", "other_category", "too_dark", "too_bright", "blurred", "framing"]

FINDING_KINDS: tuple[FindingKind, ...] = get_args(FindingKind)


@dataclass(frozen=True)
class Finding:
    """One finding with its evidence.

    detail: a sentence for people. value: what was measured; typical: what the category's other images measure; limit:
    where the finding begins. reference_id, image_index: the reference, or the position in the same request, that it was
    compared with. category: of that reference, where it is another one.
    """

    kind: FindingKind
    detail: str
    value: float
    typical: float | None = None
    limit: float | None = None
    reference_id: int | None = None
    image_index: int | None = None
    category: str | None = None
