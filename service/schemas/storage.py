"""What is kept, by which limits, and how much room is left."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from service.schemas.base import ResponseModel


class CountAndBytesView(ResponseModel):
    """A number of items, and their size in bytes."""

    count: int
    bytes: int


class RetentionLimitsView(ResponseModel):
    """Retention limits per category; null: unlimited. Each limit applies independently."""

    count: int | None
    days: float | None
    bytes: int | None


class RetentionPolicyView(ResponseModel):
    """The retention limits in force, from the settings. Defects are `anomalous` or `unfamiliar`, unless labelled
    otherwise.
    """

    inspections: RetentionLimitsView
    images: RetentionLimitsView
    defects: RetentionLimitsView
    defect_images: RetentionLimitsView


class GroupUsageView(ResponseModel):
    """Stored inspections of one group. `images` counts inspections with image and map; one file may serve several."""

    inspections: int
    oldest: datetime | None
    images: CountAndBytesView
    thumbnail_bytes: int
    next_inspections: CountAndBytesView = Field(
        description="Inspections that the next pruning removes; bytes are those of thumbnails."
    )
    next_images: CountAndBytesView = Field(
        description="Images beyond the limits; they may belong to these inspections."
    )


class ReferenceUsageView(ResponseModel):
    """Live references. Image bytes of references added by early versions are unknown and count 0."""

    count: int
    image_bytes: int
    code_bytes: int


class CategoryStorage(ResponseModel):
    """Stored data of a category. `name` is null for inspections without one."""

    name: str | None
    references: ReferenceUsageView
    defects: GroupUsageView
    others: GroupUsageView


class DiskUsageView(ResponseModel):
    """The disk of the data folder."""

    free: int
    size: int
    prune_images_below_bytes: int = Field(
        description="With less free space, the oldest images of good parts are pruned."
    )
    stop_recording_below_bytes: int = Field(
        description="With less free space, inspections are answered but not recorded."
    )
    recording_enabled: bool


class MemoryUsageView(ResponseModel):
    """Bytes in memory: the references' codes; and GPU memory used by all processes, null without a GPU."""

    codes: int
    gpu_used: int | None
    gpu_size: int | None


class StorageView(ResponseModel):
    """Stored data, retention limits, and free disk space."""

    categories: tuple[CategoryStorage, ...]
    limits: RetentionPolicyView
    disk: DiskUsageView
    memory: MemoryUsageView
    pending_deletion: CountAndBytesView = Field(description="Files that are no longer needed and are not deleted yet.")
    pruned_at: datetime | None = Field(description="When this process last pruned the history.")
