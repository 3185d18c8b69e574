"""The types of RFC 9457 problems, and the error that a route raises to respond with one."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any

from service.schemas.problem import Problem

MEDIA_TYPE = "application/problem+json"

# type → (status, title). The types are the product's contract: they are never renamed.
TYPES: dict[str, tuple[int, str]] = {
    "invalid-request": (422, "The request is invalid"),
    "image-rejected": (422, "The image was rejected"),
    "image-too-large": (413, "The image is too large"),
    "other-proportions": (422, "The image does not have the aspect ratio of its category"),
    "unsupported-format": (415, "Unsupported image format"),
    "request-too-large": (413, "The request is too large"),
    "headers-too-large": (431, "The request's headers are too large"),
    "request-timeout": (408, "The request timed out"),
    "malformed-request": (400, "Malformed HTTP request"),
    "too-many-connections": (503, "Too many connections"),
    "unauthenticated": (401, "A valid API key is required"),
    "forbidden": (403, "Permission denied"),
    "sign-in-failed": (400, "Sign-in failed"),
    "no-role": (403, "The account has no role"),
    "provider-unavailable": (503, "Identity provider unavailable"),
    "rate-limited": (429, "Rate limit exceeded"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "read-only": (405, "The service is read-only"),
    "no-references": (409, "No references"),
    "conflict": (409, "Conflict with the current state"),
    "confirmation-needed": (409, "Confirmation required"),
    "idempotency-key-reused": (422, "Idempotency-Key reused for another request"),
    "queue-full": (503, "The queue is full"),
    "not-ready": (503, "The service is not ready"),
    "memory-switched": (503, "The memory was switched to another encoder"),
    "geometry-changed": (503, "The category's geometry changed"),
    "version-behind": (503, "The requested index version is not available yet"),
    "unavailable": (503, "Database unavailable"),
    "deadline-exceeded": (504, "Deadline exceeded"),
    "device-memory-full": (503, "Out of device memory"),
    "storage-full": (507, "Storage full"),
    "storage-unavailable": (503, "Data folder unavailable"),
    "internal": (500, "Internal error"),
}

_ANYWHERE = (
    "invalid-request",
    "unauthenticated",
    "forbidden",
    "rate-limited",
    "unavailable",
    "storage-unavailable",
    "internal",
    "headers-too-large",
    "request-too-large",
    "request-timeout",
    "malformed-request",
    "too-many-connections",
)


class ProblemError(Exception):
    """Raised in a route to respond with a problem."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.reason = reason
        self.headers = dict(headers or {})
        self.more = more

    def body(self, request_id: str | None) -> Problem:
        """The response body."""
        status, title = TYPES[self.kind]
        return Problem(
            type=f"/problems/{self.kind}",
            title=title,
            status=status,
            detail=self.detail,
            request_id=request_id,
            **({"reason": self.reason} if self.reason else {}),
            **self.more,
        )


def documented_problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these problem types, plus those that any route may give."""
    by_status: dict[int | str, list[str]] = {}
    for kind in dict.fromkeys((*kinds, *_ANYWHERE)):
        by_status.setdefault(TYPES[kind][0], []).append(kind)
    schema = _problem_schema()
    return {
        status: {
            "description": "; ".join(f"`/problems/{kind}`: {TYPES[kind][1]}" for kind in kinds_of_status),
            "content": {MEDIA_TYPE: {"schema": deepcopy(schema)}},
        }
        for status, kinds_of_status in by_status.items()
    }


@lru_cache  # 385 times the same took a tenth of a start
def _problem_schema() -> dict[str, Any]:
    return Problem.model_json_schema()
