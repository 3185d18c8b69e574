"""Everything that can go wrong when talking to the service, as one tree.

TouchstoneError
├── Unreachable             no answer: no connection, a broken one, or none in time
├── BadAnswer               an answer that this client cannot read
└── Problem                 the service said no (RFC 9457): `details` holds what it said
    ├── InvalidRequest      not as documented: a field, a value, a method
    ├── PictureRefused      the picture cannot be used; `details.reason` says why in one word
    ├── TooLarge            more than fits in one request
    ├── NotAllowed          no key, a wrong one, or one without this right
    ├── NotFound            there is no such thing (any more)
    ├── Conflict            does not fit the present state
    │   ├── NoReferences    nothing to compare with yet
    │   └── ConfirmationNeeded  it would spoil the product's threshold, perhaps: `effect` tells
    ├── Unavailable         not now: too busy, starting, or past the deadline. Nothing was done; try again
    ├── StorageFull         no room on the service's disk; nothing of the request was kept
    └── InternalError       a failure inside the service, logged there under `details.request_id`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ProblemDetails:
    """What the service said. type: stable, begins with /problems/. reason: refines some types with a stable slug."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None = None
    reason: str | None = None


class TouchstoneError(Exception):
    """Base of everything this client raises on purpose; the message is one line for a person."""


class Unreachable(TouchstoneError):
    """No answer came: the service may or may not have seen the request."""


class BadAnswer(TouchstoneError):
    """An answer that is not as the API describes it."""


@dataclass
class Problem(TouchstoneError):
    """The service refused. retry_after: seconds it asked to wait, when it did."""

    details: ProblemDetails
    retry_after: float | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.details.detail


class InvalidRequest(Problem):
    """The request is not as documented."""


class PictureRefused(Problem):
    """The picture cannot be used."""


class TooLarge(Problem):
    """More than fits in one request."""


class NotAllowed(Problem):
    """No key, a wrong one, or one without this right."""


class NotFound(Problem):
    """There is no such thing, or no longer."""


class Conflict(Problem):
    """The request does not fit the present state."""


class NoReferences(Conflict):
    """There is nothing to compare with yet."""


@dataclass(frozen=True)
class Reason:
    """Why a picture should be confirmed before it becomes a reference. category: the other one that it fits better."""

    reason: Literal["threshold", "not_calibrated", "unfamiliar", "other_category"]
    detail: str
    category: str | None = None


@dataclass(frozen=True)
class Effect:
    """What a picture would do as a reference. threshold_after: at most. outlier_limit: beyond it a score is an outlier.

    score: None without references; the others: None before calibration.
    """

    score: float | None
    threshold_before: float | None
    threshold_after: float | None
    outlier_limit: float | None
    reasons: tuple[Reason, ...]


@dataclass
class ConfirmationNeeded(Conflict):
    """A part called good whose picture would move the threshold far, or does not look like the product.

    effect: what it would do. confirm_role: the role that may send it again with `confirm`.
    """

    effect: Effect | None = None
    confirm_role: str | None = None


class Unavailable(Problem):
    """Not now; nothing was done, and another try may succeed."""


class StorageFull(Problem):
    """No room on the service's disk; nothing of the request was kept."""


class InternalError(Problem):
    """Something failed inside the service."""


_BY_TYPE: dict[str, type[Problem]] = {
    "/problems/image-refused": PictureRefused,
    "/problems/image-too-large": PictureRefused,
    "/problems/unsupported-format": PictureRefused,
    "/problems/no-references": NoReferences,
    "/problems/confirmation-needed": ConfirmationNeeded,
}
_BY_STATUS: dict[int, type[Problem]] = {
    401: NotAllowed, 403: NotAllowed, 404: NotFound, 408: Unavailable, 409: Conflict, 413: TooLarge, 429: Unavailable,
    502: Unavailable, 503: Unavailable, 504: Unavailable, 507: StorageFull,
}  # fmt: skip


def problem(details: ProblemDetails, retry_after: float | None, more: Mapping[str, object]) -> Problem:
    """The exception for what the service said, by its type, or by its status when a newer service has newer types."""
    general = InternalError if details.status >= 500 else InvalidRequest
    kind = _BY_TYPE.get(details.type) or _BY_STATUS.get(details.status, general)
    return kind(details, retry_after, more)
