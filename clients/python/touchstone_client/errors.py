"""Every exception that the client raises on purpose.

TouchstoneError
├── ConnectionFailed            no response: not connected, connection lost, or timed out
├── InvalidResponse             a response that this client cannot read
└── Problem                     the service returned an error (RFC 9457); `details` holds it
    ├── InvalidRequest          a field, value or method that the API does not document
    ├── ImageRejected           the image cannot be used; `details.reason` is a slug that says why
    ├── TooLarge                more than fits in one request
    ├── PermissionDenied        no API key, a wrong one, or one whose role lacks this permission
    ├── NotFound                no such category, reference, inspection or key
    ├── Conflict                not possible in the present state
    │   ├── NoReferences        there is nothing to compare with yet
    │   └── ConfirmationNeeded  the image may spoil the category's threshold; `effect` holds by how much
    ├── Unavailable             busy, starting, rate limited or past the deadline: nothing was done, try again later
    ├── StorageFull             the service's disk is full: nothing of the request was stored
    └── InternalError           a failure inside the service, logged there under `details.request_id`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ProblemDetails:
    """The error document that the service returned."""

    type: str
    """Stable; begins with /problems/."""

    title: str
    status: int
    detail: str
    request_id: str | None = None
    reason: str | None = None
    """A stable slug that refines some types."""


class TouchstoneError(Exception):
    """Base of the tree; the message is one line for a person."""


class ConnectionFailed(TouchstoneError):
    """No response arrived: the service may or may not have seen the request."""


class InvalidResponse(TouchstoneError):
    """A response that does not match the API's description."""


@dataclass
class Problem(TouchstoneError):
    """The service returned an error.

    retry_after: seconds that the service asked to wait. extensions: members of the error document beyond `details`.
    """

    details: ProblemDetails
    retry_after: float | None = None
    extensions: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.details.detail


class InvalidRequest(Problem):
    """The request does not match the API's description."""


class ImageRejected(Problem):
    """The image cannot be used."""


class TooLarge(Problem):
    """More than fits in one request."""


class PermissionDenied(Problem):
    """No API key, a wrong one, or one whose role lacks this permission."""


class NotFound(Problem):
    """It does not exist, or no longer."""


class Conflict(Problem):
    """Not possible in the present state."""


class NoReferences(Conflict):
    """There is nothing to compare with yet."""


@dataclass(frozen=True)
class ConfirmationReason:
    """Why an image needs confirmation before it becomes a reference. category: another one that it fits better."""

    reason: Literal["threshold", "not_calibrated", "unfamiliar", "other_category"]
    detail: str
    category: str | None = None


@dataclass(frozen=True)
class ReferenceEffect:
    """What an image would change as a reference.

    score: None without references. threshold_after: an upper bound. outlier_limit: a score above it is an outlier.
    The last three are None before calibration.
    """

    score: float | None
    threshold_before: float | None
    threshold_after: float | None
    outlier_limit: float | None
    reasons: tuple[ConfirmationReason, ...]


@dataclass
class ConfirmationNeeded(Conflict):
    """A part labelled good whose image would move the threshold far, or does not look like the product.

    effect: what it would change. confirm_role: the role that may repeat the request with `confirm`.
    """

    effect: ReferenceEffect | None = None
    confirm_role: str | None = None


class Unavailable(Problem):
    """Not possible now; nothing was done, and a later attempt may succeed."""


class StorageFull(Problem):
    """The service's disk is full; nothing of the request was stored."""


class InternalError(Problem):
    """A failure inside the service."""


_BY_TYPE: dict[str, type[Problem]] = {
    "/problems/image-rejected": ImageRejected,
    "/problems/other-proportions": ImageRejected,
    "/problems/image-too-large": ImageRejected,
    "/problems/unsupported-format": ImageRejected,
    "/problems/no-references": NoReferences,
    "/problems/confirmation-needed": ConfirmationNeeded,
}
_BY_STATUS: dict[int, type[Problem]] = {
    401: PermissionDenied,
    403: PermissionDenied,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    413: TooLarge,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: StorageFull,
}


def make_problem(details: ProblemDetails, retry_after: float | None, extensions: Mapping[str, object]) -> Problem:
    """The exception for an error document: by its type, or by its status when a newer service has newer types."""
    fallback = InternalError if details.status >= 500 else InvalidRequest
    kind = _BY_TYPE.get(details.type) or _BY_STATUS.get(details.status, fallback)
    return kind(details, retry_after, extensions)
