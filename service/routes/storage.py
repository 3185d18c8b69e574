"""`/storage`: what is kept of each category, by which limits, how much room is left and what goes next; and memory."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from typing import Annotated

import torch
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from indexer.catalogue import Amount, Bounds, Holding, Kind, ReferenceHolding
from indexer.catalogue.retention import What
from service.problems import documented
from service.runtime import Runtime, runtime

router = APIRouter(tags=["administration"])


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class AmountView(_Answer):
    """So many, and their bytes."""

    count: int
    bytes: int


class BoundsView(_Answer):
    """What is kept of each category; null is without a limit. Each limit holds by itself."""

    count: int | None
    days: float | None
    bytes: int | None


class PolicyView(_Answer):
    """The limits in force, which settings give. A defect is `anomalous` or `unfamiliar`, unless a person says other."""

    inspections: BoundsView
    pictures: BoundsView
    defects: BoundsView
    defect_pictures: BoundsView


class KeptView(_Answer):
    """Inspections of one kind. `pictures` are counted with their maps, for each inspection that has them."""

    inspections: int
    oldest: datetime | None
    pictures: AmountView
    thumbnail_bytes: int
    next_inspections: AmountView = Field(description="What the next pruning takes away; bytes are of thumbnails.")
    next_pictures: AmountView = Field(description="Beyond the limits now; they may belong to those inspections.")


class ReferencesKept(_Answer):
    """Live references. Those added before their pictures' bytes were noted count none."""

    count: int
    picture_bytes: int
    code_bytes: int


class CategoryStorage(_Answer):
    """A category. `name` is null for inspections without one."""

    name: str | None
    references: ReferencesKept
    defects: KeptView
    others: KeptView


class DiskView(_Answer):
    """The disk of the data folder."""

    free: int
    size: int
    pictures_go_below: int = Field(description="With less free, the oldest pictures of what is no defect go.")
    history_stops_below: int = Field(description="With less free, inspections are answered but not kept.")
    keeps_history: bool


class MemoryView(_Answer):
    """Bytes held in memory: the references' codes; and what anyone uses of the GPU, null where there is none."""

    codes: int
    gpu_used: int | None
    gpu_size: int | None


class StorageView(_Answer):
    """What is kept."""

    categories: tuple[CategoryStorage, ...]
    limits: PolicyView
    disk: DiskView
    memory: MemoryView
    awaiting_deletion: AmountView = Field(description="Files that nothing needs and that are not yet deleted.")
    pruned_at: datetime | None = Field(description="When this process last brought the history within its limits.")


@router.get("/storage", responses=documented())
async def storage(running: Annotated[Runtime, Depends(runtime)]) -> StorageView:
    """What is kept of each category, by which limits, how much room there is, and what the next pruning takes."""
    return await asyncio.to_thread(_storage, running)


def _storage(running: Runtime) -> StorageView:
    retention, policy = running.library.catalogue.retention, running.settings.retention
    holdings = {each.kind: each for each in retention.holdings()}
    references = {each.category: each for each in retention.reference_holdings()}
    goes: dict[tuple[Kind, What], Amount] = {
        (cut.kind, cut.what): retention.amount(cut) for cut in running.pruner.cuts(holdings)
    }
    names = {kind.category for kind in holdings} | set(references)
    disk, least = shutil.disk_usage(running.settings.data), running.settings.min_free_bytes
    pending, finished = retention.pending(), running.pruning.finished
    return StorageView(
        categories=tuple(
            CategoryStorage(
                name=name, references=_references(references.get(name or "")),
                defects=_kept(holdings, goes, Kind(name, True)), others=_kept(holdings, goes, Kind(name, False)),
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


def _kept(holdings: dict[Kind, Holding], goes: dict[tuple[Kind, What], Amount], kind: Kind) -> KeptView:
    held = holdings.get(kind)
    nothing = Amount(0, 0)
    inspections, pictures = goes.get((kind, "inspections"), nothing), goes.get((kind, "pictures"), nothing)
    return KeptView(
        inspections=0 if held is None else held.inspections, oldest=None if held is None else held.oldest,
        pictures=AmountView(
            count=0 if held is None else held.pictures, bytes=0 if held is None else held.picture_bytes
        ),
        thumbnail_bytes=0 if held is None else held.thumbnail_bytes,
        next_inspections=AmountView(**vars(inspections)), next_pictures=AmountView(**vars(pictures)),
    )  # fmt: skip


def _references(held: ReferenceHolding | None) -> ReferencesKept:
    if held is None:
        return ReferencesKept(count=0, picture_bytes=0, code_bytes=0)
    return ReferencesKept(count=held.references, picture_bytes=held.picture_bytes, code_bytes=held.code_bytes)


def _bounds(bounds: Bounds) -> BoundsView:
    days = None if bounds.age is None else bounds.age.total_seconds() / 86_400
    return BoundsView(count=bounds.count, days=days, bytes=bounds.bytes)
