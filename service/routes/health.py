"""`/healthz`, `/readyz`, `/metrics`, `/version`: is it alive, can it inspect, how is it doing, and what is it?"""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from indexer.imaging.decode import FORMATS
from service.http.problems import ProblemError, documented
from service.routes.dependencies import runtime
from service.schemas.health import EncoderView, Live, Ready, TaskView, UploadLimits, VersionView
from service.settings import Settings
from service.state import Runtime

router = APIRouter(tags=["health"])
probes = APIRouter(tags=["health"])  # for those who have no key

_NOTES = {
    "builtin": "Ships with Touchstone: fixed filters and six blocks of a ViT-S trained on photographs.",
    "builtin-fine": "Ships with Touchstone: fixed filters and eight blocks of a ViT-S trained on photographs.",
    "filterbank": "Ships with Touchstone: fixed filters alone, nothing trained.",
}


@probes.get("/healthz", responses=documented())
async def healthz() -> Live:
    """The process answers; says nothing about the memory."""
    return Live()


@probes.get("/readyz", responses=documented("not-ready"))
async def readyz(running: Annotated[Runtime, Depends(runtime)]) -> Ready:
    """Ready to inspect, as last seen: pictures go through the encoder, and every stored segment passed its check.

    The service looks every two seconds by itself, so that asking costs nothing. Background work that fails is named in
    `failing`; it is tried again, and detection goes on without it.
    """
    failing = tuple(TaskView(**asdict(task)) for task in running.background.states() if task.state != "working")
    reason = running.not_ready
    if reason is not None:
        raise ProblemError(
            "not-ready", reason, headers={"Retry-After": "5"}, damaged_segments=_damaged(running),
            failing=[task.model_dump(mode="json") for task in failing],
        )  # fmt: skip
    memory, seen = running.library.memory, running.readiness.seen
    return Ready(
        version=memory.version, references=len(memory), forward_ms=seen.forward_ms, keeps_history=seen.keeps_history,
        failing=failing,
    )  # fmt: skip


@probes.get(
    "/metrics", response_class=Response, responses={**documented(), 200: {"content": {"text/plain": {}}}}
)  # fmt: skip
def metrics(running: Annotated[Runtime, Depends(runtime)]) -> Response:
    """Numbers for Prometheus, each explained in docs/metrics.md."""
    return Response(running.metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})


@router.get("/version", responses=documented())
async def what(running: Annotated[Runtime, Depends(runtime)]) -> VersionView:
    """What is running: the product, the encoder in plain words, the memory; and how large an upload may be."""
    space, memory = running.encoder.space, running.library.memory
    note = _NOTES.get(running.settings.encoder, f"Loaded from {running.settings.encoder}.")
    return VersionView(
        touchstone=version("touchstone"), engine=running.engine.name, codec=memory.codec.name,
        encoder=EncoderView(
            name=space.encoder, note=note, layers=space.layers, grid=space.grid, dim=space.dim,
            resize=space.geometry.resize, crop=space.geometry.crop, unseen=space.geometry.unseen,
            device=str(running.encoder.device), fingerprint=space.fingerprint,
        ),
        snapshot=memory.version, references=len(memory), keeps_history=running.keeps_history(),
        damaged_segments=_damaged(running), limits=_limits(running.settings),
    )  # fmt: skip


def _damaged(running: Runtime) -> tuple[str, ...]:
    return tuple(damage.name for damage in running.library.corrupt_segments)


def _limits(settings: Settings) -> UploadLimits:
    image = settings.image_limits
    return UploadLimits(
        formats=FORMATS, max_images=settings.max_images, max_request_bytes=settings.max_request_bytes,
        max_image_bytes=image.max_bytes, max_pixels=image.max_pixels, max_side=image.max_side, min_side=image.min_side,
    )  # fmt: skip
