"""What a person should know about an image that is not wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoticeKind = Literal[
    "narrow_range",
    "bit_depth_inferred",
    "encoding_mismatch",
    "reencoded_as_references",
    "size_mismatch",
    "border_not_inspected",
    "other_proportions",
]


@dataclass(frozen=True)
class Notice:
    """kind: for programs. detail: a sentence for people, which says what to do where something can be done."""

    kind: NoticeKind
    detail: str
