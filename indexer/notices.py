"""What people should know of how an image was read, beside what was found in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

NoticeKind = Literal[
    "narrow_range", "bit_depth_inferred", "stored_differently", "read_as_references", "other_size",
    "border_not_inspected",
]  # fmt: skip
NOTICE_KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind)


@dataclass(frozen=True)
class Notice:
    """kind: for programs. detail: a sentence for people, which says what to do where something can be done."""

    kind: NoticeKind
    detail: str
