"""What is kept, by which limits, and how much room is left."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from service.schemas.base import ResponseModel


class CountAndBytesView(ResponseModel):
    """So many, and their bytes."""

    count: int
    bytes: int


class RetentionLimitsView(ResponseModel):
    """What is kept of each category; null is without a limit. Each limit holds by itself."""

    count: int | None
    days: float | None
    bytes: int | None


class RetentionPolicyView(ResponseModel):
    """The limits in force, which settings give. A defect is `anomalous` or `unfamiliar`, unless a person says other."""

    inspections: RetentionLimitsView
    images: RetentionLimitsView
    defects: RetentionLimitsView
    defect_images: RetentionLimitsView


class GroupUsageView(ResponseModel):
    """Inspections of one kind. `images` are counted with their maps, for each inspection that has them."""

    inspections: int
    oldest: datetime | None
    images: CountAndBytesView
    thumbnail_bytes: int
    next_inspections: CountAndBytesView = Field(
        description="What the next pruning takes away; bytes are of thumbnails."
    )
    next_images: CountAndBytesView = Field(description="Beyond the limits now; they may belong to those inspections.")


class ReferenceUsageView(ResponseModel):
    """Live references. Those added before their images' bytes were noted count none."""

    count: int
    image_bytes: int
    code_bytes: int


class CategoryStorage(ResponseModel):
    """A category. `name` is null for inspections without one."""

    name: str | None
    references: ReferenceUsageView
    defects: GroupUsageView
    others: GroupUsageView


class DiskUsageView(ResponseModel):
    """The disk of the data folder."""

    free: int
    size: int
    prune_images_below_bytes: int = Field(description="With less free, the oldest images of what is no defect go.")
    stop_recording_below_bytes: int = Field(description="With less free, inspections are answered but not kept.")
    recording_enabled: bool


class MemoryUsageView(ResponseModel):
    """Bytes held in memory: the references' codes; and what anyone uses of the GPU, null where there is none."""

    codes: int
    gpu_used: int | None
    gpu_size: int | None


class StorageView(ResponseModel):
    """What is kept."""

    categories: tuple[CategoryStorage, ...]
    limits: RetentionPolicyView
    disk: DiskUsageView
    memory: MemoryUsageView
    pending_deletion: CountAndBytesView = Field(description="Files that nothing needs and that are not yet deleted.")
    pruned_at: datetime | None = Field(description="When this process last brought the history within its limits.")
