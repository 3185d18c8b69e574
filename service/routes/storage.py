"""`/storage`: what is kept of each category, by which limits, how much room is left and what goes next; and memory."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from typing import Annotated

import torch
from fastapi import APIRouter, Depends

from indexer.domain.retention import (
    CountAndBytes,
    GroupUsage,
    PruneTarget,
    ReferenceUsage,
    RetentionGroup,
    RetentionLimits,
)
from service.http.problems import documented
from service.routes.dependencies import runtime
from service.schemas.storage import (
    AmountView,
    BoundsView,
    CategoryStorage,
    DiskView,
    KeptView,
    MemoryView,
    PolicyView,
    ReferencesKept,
    StorageView,
)
from service.state import Runtime

router = APIRouter(tags=["administration"])


@router.get("/storage", responses=documented())
async def storage(running: Annotated[Runtime, Depends(runtime)]) -> StorageView:
    """What is kept of each category, by which limits, how much room there is, and what the next pruning takes."""
    return await asyncio.to_thread(_storage, running)


def _storage(running: Runtime) -> StorageView:
    retention, policy = running.library.catalogue.retention, running.settings.retention
    holdings = {each.kind: each for each in retention.holdings()}
    references = {each.category: each for each in retention.reference_holdings()}
    goes: dict[tuple[RetentionGroup, PruneTarget], CountAndBytes] = {
        (cut.kind, cut.what): retention.size_of(cut) for cut in running.pruner.plan(holdings)
    }
    names = {kind.category for kind in holdings} | set(references)
    disk, least = shutil.disk_usage(running.settings.data), running.settings.min_free_bytes
    pending, finished = retention.pending(), running.pruning.finished
    return StorageView(
        categories=tuple(
            CategoryStorage(
                name=name, references=_references(references.get(name or "")),
                defects=_kept(holdings, goes, RetentionGroup(name, True)),
                others=_kept(holdings, goes, RetentionGroup(name, False)),
            )
            for name in sorted(names, key=lambda name: name or "")
        ),
        limits=PolicyView(
            inspections=_bounds(policy.inspections), pictures=_bounds(policy.pictures),
            defects=_bounds(policy.defects), defect_pictures=_bounds(policy.defect_pictures),
        ),
        disk=DiskView(
            free=disk.free, size=disk.total, pictures_go_below=2 * least, history_stops_below=least,
            keeps_history=running.keeps_history(),
        ),
        memory=_memory(running),
        awaiting_deletion=AmountView(count=pending.count, bytes=pending.bytes),
        pruned_at=None if finished is None else datetime.fromtimestamp(finished, UTC),
    )  # fmt: skip


def _memory(running: Runtime) -> MemoryView:
    codes, device = running.library.memory.code_bytes, running.encoder.device
    if device.type != "cuda":
        return MemoryView(codes=codes, gpu_used=None, gpu_size=None)
    free, size = torch.cuda.mem_get_info(device)
    return MemoryView(codes=codes, gpu_used=size - free, gpu_size=size)


def _kept(
    holdings: dict[RetentionGroup, GroupUsage],
    goes: dict[tuple[RetentionGroup, PruneTarget], CountAndBytes],
    kind: RetentionGroup,
) -> KeptView:
    held = holdings.get(kind)
    nothing = CountAndBytes(0, 0)
    inspections, pictures = goes.get((kind, "inspections"), nothing), goes.get((kind, "pictures"), nothing)
    return KeptView(
        inspections=0 if held is None else held.inspections, oldest=None if held is None else held.oldest,
        pictures=AmountView(
            count=0 if held is None else held.pictures, bytes=0 if held is None else held.picture_bytes
        ),
        thumbnail_bytes=0 if held is None else held.thumbnail_bytes,
        next_inspections=AmountView(**vars(inspections)), next_pictures=AmountView(**vars(pictures)),
    )  # fmt: skip


def _references(held: ReferenceUsage | None) -> ReferencesKept:
    if held is None:
        return ReferencesKept(count=0, picture_bytes=0, code_bytes=0)
    return ReferencesKept(count=held.references, picture_bytes=held.picture_bytes, code_bytes=held.code_bytes)


def _bounds(bounds: RetentionLimits) -> BoundsView:
    days = None if bounds.age is None else bounds.age.total_seconds() / 86_400
    return BoundsView(count=bounds.count, days=days, bytes=bounds.bytes)
