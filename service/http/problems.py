"""Maps every error of the product and of the framework to the problem that it is answered with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

import torch
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from indexer.domain.errors import (
    CatalogueBusy,
    CatalogueUnavailable,
    ClusterError,
    GeometryError,
    GeometryInactive,
    ImageNotEncodable,
    InvalidCursor,
    MemoryInactive,
    NoReferencesError,
    NotFound,
    NothingInspected,
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
from service.http.problem_types import TYPES, ProblemError
from service.inference.worker import DeadlineExceededError, QueueFullError, WorkerStoppedError
from service.schemas.inspections import EffectView, ReasonView

log = logging.getLogger("touchstone")

_REJECTION_TYPES = {
    "too-many-bytes": "image-too-large",
    "too-many-pixels": "image-too-large",
    "side-too-long": "image-too-large",
    "not-an-image": "unsupported-format",
    "other-proportions": "other-proportions",
}


def _image_refused(refused: ImageRejected) -> ProblemError:
    return ProblemError(_REJECTION_TYPES.get(refused.reason, "image-rejected"), refused.detail, reason=refused.reason)


def _nothing_inspected(error: NothingInspected) -> ProblemError:
    text = str(error)
    detail = f"{text[:1].upper()}{text[1:]}: nothing of it would be inspected."
    return ProblemError("image-rejected", detail, reason="nothing-inspected")


def _not_encodable(error: ImageNotEncodable) -> ProblemError:
    log.error("%s", error)
    detail = "The encoder returns values that are not finite for this image, so it cannot be compared: see the log."
    return ProblemError("image-rejected", detail, reason="not-encodable")


def _memory_switched(_: MemoryInactive) -> ProblemError:
    return ProblemError(
        "memory-switched",
        "The references were re-encoded into another memory, and nothing of this request was stored. Retry; if "
        "/readyz names another encoder, restart the service with it.",
        headers={"Retry-After": "5"},
    )


def _geometry_changed(_: GeometryInactive) -> ProblemError:
    detail = "The category's geometry changed during this request; nothing of it was stored. Send it again."
    return ProblemError("geometry-changed", detail, headers={"Retry-After": "1"})


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
    ImageNotEncodable: _not_encodable,
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
    NothingInspected: _nothing_inspected,
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


def to_problem(error: Exception) -> ProblemError:
    """The problem that stands for an error of the product or of the framework: that of its nearest class here."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind](error)
    return _internal(error)
