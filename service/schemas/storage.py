"""What is kept, by which limits, and how much room is left."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from service.schemas.base import Answer


class AmountView(Answer):
    """So many, and their bytes."""

    count: int
    bytes: int


class BoundsView(Answer):
    """What is kept of each category; null is without a limit. Each limit holds by itself."""

    count: int | None
    days: float | None
    bytes: int | None


class PolicyView(Answer):
    """The limits in force, which settings give. A defect is `anomalous` or `unfamiliar`, unless a person says other."""

    inspections: BoundsView
    pictures: BoundsView
    defects: BoundsView
    defect_pictures: BoundsView


class KeptView(Answer):
    """Inspections of one kind. `pictures` are counted with their maps, for each inspection that has them."""

    inspections: int
    oldest: datetime | None
    pictures: AmountView
    thumbnail_bytes: int
    next_inspections: AmountView = Field(description="What the next pruning takes away; bytes are of thumbnails.")
    next_pictures: AmountView = Field(description="Beyond the limits now; they may belong to those inspections.")


class ReferencesKept(Answer):
    """Live references. Those added before their pictures' bytes were noted count none."""

    count: int
    picture_bytes: int
    code_bytes: int


class CategoryStorage(Answer):
    """A category. `name` is null for inspections without one."""

    name: str | None
    references: ReferencesKept
    defects: KeptView
    others: KeptView


class DiskView(Answer):
    """The disk of the data folder."""

    free: int
    size: int
    pictures_go_below: int = Field(description="With less free, the oldest pictures of what is no defect go.")
    history_stops_below: int = Field(description="With less free, inspections are answered but not kept.")
    keeps_history: bool


class MemoryView(Answer):
    """Bytes held in memory: the references' codes; and what anyone uses of the GPU, null where there is none."""

    codes: int
    gpu_used: int | None
    gpu_size: int | None


class StorageView(Answer):
    """What is kept."""

    categories: tuple[CategoryStorage, ...]
    limits: PolicyView
    disk: DiskView
    memory: MemoryView
    awaiting_deletion: AmountView = Field(description="Files that nothing needs and that are not yet deleted.")
    pruned_at: datetime | None = Field(description="When this process last brought the history within its limits.")
