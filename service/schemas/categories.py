"""Categories, how they are inspected, and what of that can be changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from indexer.domain.bit_depth import BitDepth
from indexer.domain.category import MAX_DEFECT_CLASSES, CategorySettings
from indexer.domain.finding import FindingKind
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import ANYWHERE
from service.schemas.base import JsonFloat, JsonInt, ResponseModel
from service.schemas.calibration import CalibrationView, DriftView
from service.schemas.coreset import CoresetView
from service.schemas.geometry import GeometryBody, GeometryChangeView, GeometryView
from service.schemas.region_of_interest import RegionOfInterestBody, RegionOfInterestView, region_view
from service.schemas.text import DefectClass


def _number(value: object) -> object:
    """A form's text as the number that it writes."""
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


BitDepthField = Annotated[BitDepth | None, BeforeValidator(_number)]


class SettingsView(ResponseModel):
    """A category's settings."""

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float
    region_of_interest: RegionOfInterestView | None
    refuse: tuple[FindingKind, ...]
    bit_depth: BitDepth | None
    pooled_share: float
    defect_classes: tuple[str, ...]
    review_band: float
    review_feedback: bool


def settings_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a category as responses have them: of a mask, which is an image, only that there is one."""
    region = settings.get("region_of_interest")
    if region is None:
        return dict(settings)
    region = region if isinstance(region, RegionOfInterest) else RegionOfInterest.from_json(region)
    return {**settings, "region_of_interest": region_view(region).model_dump()}


class SettingsPatch(BaseModel):
    """Settings to change; what is left out stays.

    null resets `layer_weights`, `threshold`, `region_of_interest` and `bit_depth`.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"false_reject_rate": 0.02}]})

    k: JsonInt = Field(CategorySettings.k, ge=1, le=100_000, description="References retrieved per image.")
    rho: JsonInt = Field(
        CategorySettings.rho,
        ge=0,
        le=ANYWHERE,
        description="Neighbourhood radius in grid cells, 0 to 16; 255: parts may lie anywhere.",
    )
    layer_weights: list[Annotated[JsonFloat, Field(ge=0, allow_inf_nan=False)]] | None = Field(
        None,
        description="One weight per layer; null: computed from the references, so that layers in which good parts vary "
        "more weigh less.",
    )
    false_reject_rate: JsonFloat = Field(
        CategorySettings.false_reject_rate, ge=1e-6, lt=1, description="Share of good parts that may be rejected."
    )
    threshold: JsonFloat | None = Field(
        None, ge=0, le=2, description="A manual threshold; null uses the calibrated one."
    )
    unfamiliar_rate: JsonFloat = Field(
        CategorySettings.unfamiliar_rate, ge=1e-6, lt=1, description="Share of good parts that may be `unfamiliar`."
    )
    region_of_interest: RegionOfInterestBody | None = Field(
        None, description="The region of interest; null: the whole image. To set a mask image use its own route."
    )
    refuse: tuple[FindingKind, ...] = Field((), description="Kinds of findings for which new references are refused.")
    bit_depth: BitDepth | None = Field(
        None,
        description="Number of bits used in 16-bit channels, from the lowest. By default the first such references "
        "decide it; it cannot be changed while references exist that were read differently.",
    )
    pooled_share: JsonFloat = Field(
        CategorySettings.pooled_share,
        gt=0,
        le=1,
        description="The image score is the mean of this share of the anomaly map, its largest values.",
    )


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Classes that differ in more than capitals."""
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError("name each class once, in capitals or not")
    return names


class CategoryPatch(SettingsPatch):
    """Settings to change; omitted ones are unchanged.

    null resets `layer_weights`, `threshold`, `region_of_interest` and `bit_depth`. A new `geometry` takes effect when
    all references are encoded at it; until then the present one is used, and `geometry_change` shows the progress.
    Requesting the present geometry cancels the change.
    """

    review_band: JsonFloat = Field(
        CategorySettings.review_band,
        ge=0,
        le=1,
        description="Parts inspected from now on wait for review if their score differs from the threshold by at most "
        "this share of it.",
    )
    review_feedback: bool = Field(
        CategorySettings.review_feedback,
        strict=True,
        description="An operator's `good` waits for review; false: it makes a reference at once, unless it needs "
        "confirmation.",
    )
    geometry: GeometryBody | None = Field(None, description="The input geometry; null: unchanged.")
    defect_classes: Annotated[tuple[DefectClass, ...], AfterValidator(_distinct)] = Field(
        (),
        max_length=MAX_DEFECT_CLASSES,
        description="Names that confirmed defects may be given. Inspections keep the names that are left out here.",
        examples=[["scratch", "dent", "missing part"]],
    )


class CategoryView(ResponseModel):
    """A product."""

    name: str
    references: int
    created: datetime
    settings: SettingsView
    calibration: CalibrationView
    drift: DriftView | None = Field(description="Null before the first calibrated inspection.")
    geometry: GeometryView
    geometry_change: GeometryChangeView | None = Field(
        description="A geometry change in progress; null if there is none."
    )
    coreset: CoresetView | None = Field(description="What is searched instead of all references; null: nothing else.")


class RemovedCategoryView(ResponseModel):
    """A removed category, which can be restored for 30 days."""

    name: str
    removed_at: datetime
    references: int = Field(description="Number of references, removed with it, that can be restored.")


class CategoriesResponse(ResponseModel):
    """All categories by name, and removed ones that can be restored."""

    categories: tuple[CategoryView, ...]
    removed: tuple[RemovedCategoryView, ...]


class LostReference(ResponseModel):
    """A reference that could not be restored, and why."""

    reference_id: int
    filename: str
    detail: str


class RestoredCategory(ResponseModel):
    """A restored category, with the references that this request restored; `next_cursor` restores more."""

    category: CategoryView
    restored: int
    lost: tuple[LostReference, ...]
    next_cursor: str | None
