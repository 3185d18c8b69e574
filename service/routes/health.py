"""`/healthz`, `/readyz`, `/metrics`, `/version`."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from indexer.imaging.decode import FORMATS
from service.http.problem_types import ProblemError, documented_problems
from service.routes.dependencies import app_state
from service.schemas.health import EncoderView, Live, Ready, TaskView, UploadLimits, VersionView
from service.settings import Settings
from service.state import AppState

router = APIRouter(tags=["health"])
probes = APIRouter(tags=["health"])  # for those who have no key

_NOTES = {
    "builtin": "Ships with Touchstone: fixed filters and six blocks of a ViT-S trained on photographs.",
    "builtin-fine": "Ships with Touchstone: fixed filters and eight blocks of a ViT-S trained on photographs.",
    "filterbank": "Ships with Touchstone: fixed filters alone, nothing trained.",
}


@probes.get("/healthz", responses=documented_problems())
async def healthz() -> Live:
    """Liveness: the process responds. It says nothing about readiness."""
    return Live()


@probes.get("/readyz", responses=documented_problems("not-ready"))
async def readyz(state: Annotated[AppState, Depends(app_state)]) -> Ready:
    """Readiness: the encoder works, and every stored segment passed its checksum.

    The service checks itself every two seconds, so that a request is cheap. Failing background tasks are listed in
    `failing`; they are retried, and detection continues.
    """
    failing = tuple(
        TaskView(**asdict(task)) for task in state.background.supervisor.states() if task.state != "working"
    )
    reason = state.not_ready_reason
    if reason is not None:
        raise ProblemError(
            "not-ready",
            reason,
            headers={"Retry-After": "5"},
            corrupt_segments=_damaged(state),
            failing=[task.model_dump(mode="json") for task in failing],
        )
    memory, seen = state.reference_store.memory, state.readiness.seen
    return Ready(
        version=memory.version,
        references=len(memory),
        forward_ms=seen.forward_ms,
        recording_enabled=seen.recording_enabled and not state.settings.read_only,
        read_only=state.settings.read_only,
        failing=failing,
    )


@probes.get(
    "/metrics", response_class=Response, responses={**documented_problems(), 200: {"content": {"text/plain": {}}}}
)
def metrics(state: Annotated[AppState, Depends(app_state)]) -> Response:
    """Metrics in Prometheus' format; docs/metrics.md explains each."""
    return Response(state.metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})


@router.get("/version", responses=documented_problems())
async def product_version(state: Annotated[AppState, Depends(app_state)]) -> VersionView:
    """Versions of the product, the encoder and the index, and the limits of uploads."""
    space, memory = state.encoder.space, state.reference_store.memory
    note = _NOTES.get(state.settings.encoder, f"Loaded from {state.settings.encoder}.")
    return VersionView(
        touchstone=version("touchstone"),
        engine=state.engine.name,
        codec=memory.codec.name,
        encoder=EncoderView(
            name=space.encoder,
            note=note,
            layers=space.layers,
            patch=space.patch,
            dim=space.dim,
            device=str(state.encoder.device),
            fingerprint=space.fingerprint,
        ),
        version=memory.version,
        references=len(memory),
        recording_enabled=state.recording_enabled(),
        read_only=state.settings.read_only,
        corrupt_segments=_damaged(state),
        limits=_limits(state.settings),
    )


def _damaged(state: AppState) -> tuple[str, ...]:
    return tuple(damage.name for damage in state.reference_store.corrupt_segments)


def _limits(settings: Settings) -> UploadLimits:
    image = settings.image_limits
    return UploadLimits(
        formats=FORMATS,
        max_images=settings.max_images,
        max_request_bytes=settings.max_request_bytes,
        max_image_bytes=image.max_bytes,
        max_pixels=image.max_pixels,
        max_side=image.max_side,
        min_side=image.min_side,
    )
