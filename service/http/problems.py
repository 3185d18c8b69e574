"""Maps every error to RFC 9457 problem details with a stable type."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import Scope, Send

from indexer.domain.errors import (
    CatalogueBusy,
    CatalogueUnavailable,
    ClusterError,
    GeometryError,
    GeometryInactive,
    InvalidCursor,
    MemoryInactive,
    NoReferencesError,
    NotFound,
    OriginalUnreadable,
    OtherProportions,
    RequestKeyReused,
    StorageFull,
)
from indexer.imaging.decode import ImageRejected
from indexer.memory.device_cache import DeviceMemoryFull
from indexer.text import TextRejected, readable
from service.errors import (
    ConfirmationForbidden,
    ConfirmationNeeded,
    Conflict,
    InvalidSetting,
    NoRole,
    ProviderUnavailable,
    SignInFailed,
    SnapshotBehind,
)
from service.http.middleware.root_path import route_path
from service.inference.worker import DeadlineExceededError, QueueFullError, WorkerStoppedError
from service.schemas.inspections import EffectView, ReasonView
from service.schemas.problem import Problem

log = logging.getLogger("touchstone")
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

_REJECTION_TYPES = {
    "too-many-bytes": "image-too-large",
    "too-many-pixels": "image-too-large",
    "side-too-long": "image-too-large",
    "not-an-image": "unsupported-format",
    "other-proportions": "other-proportions",
}


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


def _image_refused(refused: ImageRejected) -> ProblemError:
    return ProblemError(_REJECTION_TYPES.get(refused.reason, "image-rejected"), refused.detail, reason=refused.reason)


def _memory_switched(_: MemoryInactive) -> ProblemError:
    return ProblemError(
        "memory-switched",
        "The references were re-encoded into another memory, and nothing of this request was stored. Retry; if "
        "/readyz names another encoder, restart the service with it.",
        headers={"Retry-After": "5"},
    )


@lru_cache  # 385 times the same took a tenth of a start
def _problem_schema() -> dict[str, Any]:
    return Problem.model_json_schema()


def _geometry_changed(_: GeometryInactive) -> ProblemError:
    detail = "The category's geometry changed during this request; nothing of it was stored. Send it again."
    return ProblemError("geometry-changed", detail, headers={"Retry-After": "1"})


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


def to_problem(error: Exception) -> ProblemError:
    """The problem that stands for an error of the product or of the framework: that of its nearest class here."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind](error)
    return _internal(error)


def _internal(error: Exception) -> ProblemError:
    log.error("unhandled %s", type(error).__name__, exc_info=error)
    return ProblemError("internal", "The error was logged under this request id.")


def _no_references(error: NoReferencesError) -> ProblemError:
    return ProblemError("no-references", f"There is nothing to compare with: {error}. POST /references first.")


def _storage_full(_: StorageFull) -> ProblemError:
    return ProblemError("storage-full", "The data folder's disk is full; nothing of this request was stored.")


def _system_error(error: OSError) -> ProblemError:
    """A file that cannot be written, read or found, whatever the reason: what else requests wait for has its own."""
    if error.errno is None:  # a timeout of the event loop's, say
        return _internal(error)
    log.error("%s", error)
    return ProblemError(
        "storage-unavailable",
        "The data folder is unavailable; whether this request was stored is unknown. Send it again.",
        headers={"Retry-After": "5"},
    )


def _device_memory_full(error: Exception) -> ProblemError:
    log.error("the GPU's memory is full: %s", error)
    return ProblemError(
        "device-memory-full",
        "The GPU's memory is full; nothing was lost. Retry later.",
        headers={"Retry-After": "5"},
    )


def _busy(error: QueueFullError) -> ProblemError:
    return ProblemError(
        "queue-full", "Too many images are queued; retry later.", headers={"Retry-After": str(error.retry_after)}
    )


def _stopped(_: WorkerStoppedError) -> ProblemError:
    return ProblemError("not-ready", "The service is stopping.", headers={"Retry-After": "5"})


def _cluster_failed(error: ClusterError) -> ProblemError:
    log.error("%s", error)
    return ProblemError("not-ready", "The cluster that inspects images does not answer.", headers={"Retry-After": "5"})


def _deadline_exceeded(_: DeadlineExceededError) -> ProblemError:
    return ProblemError(
        "deadline-exceeded", "The image was not processed within the deadline and was dropped; send it again."
    )


def _unavailable(error: Exception) -> ProblemError:
    log.error("%s", error)
    detail = "The database does not respond; whether this request was stored is unknown. Send it again."
    return ProblemError("unavailable", detail, headers={"Retry-After": "5"})


def _provider_unavailable(error: Exception) -> ProblemError:
    log.error("%s", error)
    return ProblemError("provider-unavailable", str(error), headers={"Retry-After": "5"})


def _request_key_reused(_: RequestKeyReused) -> ProblemError:
    detail = "This Idempotency-Key was used for other images or fields: use a new one for another request."
    return ProblemError("idempotency-key-reused", detail)


def _invalid_cursor(_: InvalidCursor) -> ProblemError:
    return ProblemError("invalid-request", "The cursor is invalid; start again without one.")


def _unknown(error: NotFound) -> ProblemError:
    text = str(error)
    return ProblemError("not-found", f"{text[:1].upper()}{text[1:]}.")


def _unreadable(_: OriginalUnreadable) -> ProblemError:
    return ProblemError("not-found", "The stored image is missing or damaged.")


def _confirmation(kind: str, error: ConfirmationNeeded) -> ProblemError:
    reasons = tuple(ReasonView(**asdict(reason)) for reason in error.reasons)
    effect = EffectView(**asdict(error.effect), reasons=reasons)
    return ProblemError(kind, str(error), effect=effect.model_dump(), confirm_role=error.role)


def _invalid(error: RequestValidationError) -> ProblemError:
    errors = [
        {
            "field": readable(".".join(str(part) for part in fault["loc"])),
            "message": readable(fault["msg"].removeprefix("Value error, ")),
        }
        for fault in error.errors()
    ]
    return ProblemError(
        "invalid-request", "; ".join(f"{fault['field']}: {fault['message']}" for fault in errors), errors=errors
    )


def _disconnected(_: ClientDisconnect) -> ProblemError:  # nobody reads this
    return ProblemError("malformed-request", "The connection ended before the response.")


def _from_framework(error: HTTPException) -> ProblemError:
    kinds = {404: "not-found", 405: "method-not-allowed", 413: "request-too-large"}
    kind = kinds.get(error.status_code, "internal" if error.status_code >= 500 else "invalid-request")
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else TYPES[kind][1] + "."
    return ProblemError(kind, detail, headers=error.headers)


# What each error of the product, and of the framework, is answered with. A test holds every exception of ours to be
# here, or to have a reason why no request meets it.
PROBLEMS: dict[type[BaseException], Callable[[Any], ProblemError]] = {
    ProblemError: lambda error: error,
    ImageRejected: _image_refused,
    NoReferencesError: _no_references,
    StorageFull: _storage_full,
    OSError: _system_error,
    DeviceMemoryFull: _device_memory_full,
    torch.OutOfMemoryError: _device_memory_full,
    QueueFullError: _busy,
    WorkerStoppedError: _stopped,
    ClusterError: _cluster_failed,
    DeadlineExceededError: _deadline_exceeded,
    CatalogueBusy: _unavailable,
    CatalogueUnavailable: _unavailable,
    MemoryInactive: _memory_switched,
    SnapshotBehind: lambda error: ProblemError("version-behind", str(error), headers={"Retry-After": "1"}),
    Conflict: lambda error: ProblemError("conflict", str(error)),
    ConfirmationNeeded: lambda error: _confirmation("confirmation-needed", error),
    ConfirmationForbidden: lambda error: _confirmation("forbidden", error),
    InvalidSetting: lambda error: ProblemError("invalid-request", str(error)),
    SignInFailed: lambda error: ProblemError("sign-in-failed", str(error)),
    NoRole: lambda error: ProblemError("no-role", str(error)),
    ProviderUnavailable: _provider_unavailable,
    GeometryInactive: _geometry_changed,
    OtherProportions: lambda error: ProblemError("other-proportions", f"{error}.".capitalize()),
    GeometryError: lambda error: ProblemError("invalid-request", f"geometry: {error}."),
    RequestKeyReused: _request_key_reused,
    InvalidCursor: _invalid_cursor,
    TextRejected: lambda error: ProblemError("invalid-request", f"The text {error}."),
    NotFound: _unknown,
    OriginalUnreadable: _unreadable,
    RequestValidationError: _invalid,
    ClientDisconnect: _disconnected,
    HTTPException: _from_framework,
}


async def problem_response(request: Request, error: Exception) -> JSONResponse:
    """The response for any error."""
    problem = to_problem(error)
    request.scope["problem"] = problem.kind
    if problem.kind == "method-not-allowed":
        problem.headers["Allow"] = _allowed(request)
    body = problem.body(request.scope.get("request_id"))
    return JSONResponse(body.model_dump(exclude_none=True), body.status, headers=problem.headers, media_type=MEDIA_TYPE)


def _allowed(request: Request) -> str:
    """Every method that the request's path has; the framework names those of one route only.

    A path without parameters, as `/references/remove`, is not taken for `/references/{reference_id}`.
    """
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    here = route_path(request.scope)
    matching = [here] if here in paths else [path for path in paths if compile_path(path)[0].match(here)]
    allowed = {method.upper() for path in matching for method in paths[path]}
    if "GET" in allowed:
        allowed.add("HEAD")
    return ", ".join(sorted(allowed))


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem."""
    for kind in PROBLEMS:
        app.add_exception_handler(cast(type[Exception], kind), problem_response)


async def send_problem(problem: ProblemError, scope: Scope, send: Send) -> None:
    """Answer a request with a problem, below the framework."""
    scope["problem"] = problem.kind
    body = problem.body(scope["request_id"])
    content = body.model_dump_json(exclude_none=True).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(content)), **problem.headers}
    await send(
        {
            "type": "http.response.start",
            "status": body.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content})
