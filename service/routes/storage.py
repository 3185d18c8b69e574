"""`/storage`: disk usage per category, retention limits, what the next pruning removes."""

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
from service.http.problem_types import documented_problems
from service.routes.dependencies import app_state
from service.schemas.storage import (
    CategoryStorage,
    CountAndBytesView,
    DiskUsageView,
    GroupUsageView,
    MemoryUsageView,
    ReferenceUsageView,
    RetentionLimitsView,
    RetentionPolicyView,
    StorageView,
)
from service.state import AppState

router = APIRouter(tags=["administration"])


@router.get("/storage", responses=documented_problems())
async def storage(state: Annotated[AppState, Depends(app_state)]) -> StorageView:
    """Stored data per category, the retention limits, the free disk space, and what the next pruning removes."""
    return await asyncio.to_thread(_storage, state)


def _storage(state: AppState) -> StorageView:
    retention, policy = state.reference_store.catalogue.retention, state.settings.retention
    holdings = {usage.group: usage for usage in retention.usage()}
    references = {usage.category: usage for usage in retention.reference_usage()}
    pruned_next: dict[tuple[RetentionGroup, PruneTarget], CountAndBytes] = {
        (cut.group, cut.target): retention.size_of(cut) for cut in state.pruner.plan(holdings)
    }
    names = {kind.category for kind in holdings} | set(references)
    disk, min_free = shutil.disk_usage(state.settings.data), state.settings.min_free_bytes
    pending, finished = retention.pending(), state.pruning.finished
    return StorageView(
        categories=tuple(
            CategoryStorage(
                name=name,
                references=_references(references.get(name or "")),
                defects=_group_usage(holdings, pruned_next, RetentionGroup(name, True)),
                others=_group_usage(holdings, pruned_next, RetentionGroup(name, False)),
            )
            for name in sorted(names, key=lambda name: name or "")
        ),
        limits=RetentionPolicyView(
            inspections=_bounds(policy.inspections),
            images=_bounds(policy.images),
            defects=_bounds(policy.defects),
            defect_images=_bounds(policy.defect_images),
        ),
        disk=DiskUsageView(
            free=disk.free,
            size=disk.total,
            prune_images_below_bytes=2 * min_free,
            stop_recording_below_bytes=min_free,
            recording_enabled=state.recording_enabled(),
        ),
        memory=_memory(state),
        pending_deletion=CountAndBytesView(count=pending.count, bytes=pending.bytes),
        pruned_at=None if finished is None else datetime.fromtimestamp(finished, UTC),
    )


def _memory(state: AppState) -> MemoryUsageView:
    codes, device = state.reference_store.memory.code_bytes, state.encoder.device
    if device.type != "cuda":
        return MemoryUsageView(codes=codes, gpu_used=None, gpu_size=None)
    free, size = torch.cuda.mem_get_info(device)
    return MemoryUsageView(codes=codes, gpu_used=size - free, gpu_size=size)


def _group_usage(
    holdings: dict[RetentionGroup, GroupUsage],
    pruned_next: dict[tuple[RetentionGroup, PruneTarget], CountAndBytes],
    kind: RetentionGroup,
) -> GroupUsageView:
    usage = holdings.get(kind)
    none = CountAndBytes(0, 0)
    inspections, images = pruned_next.get((kind, "inspections"), none), pruned_next.get((kind, "images"), none)
    return GroupUsageView(
        inspections=0 if usage is None else usage.inspections,
        oldest=None if usage is None else usage.oldest,
        images=CountAndBytesView(
            count=0 if usage is None else usage.images, bytes=0 if usage is None else usage.image_bytes
        ),
        thumbnail_bytes=0 if usage is None else usage.thumbnail_bytes,
        next_inspections=CountAndBytesView(**vars(inspections)),
        next_images=CountAndBytesView(**vars(images)),
    )


def _references(usage: ReferenceUsage | None) -> ReferenceUsageView:
    if usage is None:
        return ReferenceUsageView(count=0, image_bytes=0, code_bytes=0)
    return ReferenceUsageView(count=usage.references, image_bytes=usage.image_bytes, code_bytes=usage.code_bytes)


def _bounds(bounds: RetentionLimits) -> RetentionLimitsView:
    days = None if bounds.age is None else bounds.age.total_seconds() / 86_400
    return RetentionLimitsView(count=bounds.count, days=days, bytes=bounds.bytes)
