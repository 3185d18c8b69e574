"""Geometries of categories: responses with their cost, and requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from indexer.domain.geometry import InputGeometry, OnMismatch, Size
from indexer.domain.roi import RegionOfInterest
from indexer.imaging.roi import inspected_fraction
from service.schemas.base import JSON_INTEGER, JsonFloat, ResponseModel
from service.schemas.region_of_interest import RegionOfInterestView, region_view
from service.schemas.text import CategoryName

_Pixels = Annotated[int, Field(ge=1, le=16_384), JSON_INTEGER]
_Offset = Annotated[int, Field(ge=0, le=16_384), JSON_INTEGER]


class InspectedView(ResponseModel):
    """The inspected part of an image: what the geometry shows, within the region of interest."""

    fraction: float = Field(description="Fraction of the image's area that is inspected, above 0 and up to 1.")
    polygon: tuple[tuple[float, float], ...] = Field(
        description="What the geometry shows: corners (x, y) in fractions of the image's width and height, clockwise "
        "from the top left."
    )
    region: RegionOfInterestView | None = Field(
        None, description="The region of interest, which restricts it further; null: none."
    )


class GeometryView(ResponseModel):
    """The image is scaled to `resized`; `window` of it is inspected, in cells."""

    resized: tuple[int, int] = Field(description="(width, height) in pixels.")
    window: tuple[int, int, int, int] = Field(description="(left, top, width, height) in pixels of `resized`.")
    on_mismatch: OnMismatch = Field(
        description="Treatment of an image whose aspect ratio differs by more than 5 %: `letterbox` keeps it, and "
        "cells outside the image are not scored; `refuse` returns `other-proportions`; `stretch` stretches it, as in "
        "the paper."
    )
    grid: tuple[int, int] = Field(description="(rows, columns) of cells.")
    inspected: InspectedView


class GeometryChangeView(ResponseModel):
    """A geometry change in progress: it takes effect when all references are encoded; until then the present geometry
    is used.
    """

    geometry: GeometryView
    encoded: int = Field(description="References encoded so far.")
    references: int
    error: str | None = Field(description="Why the change does not progress; null while it does.")


class GeometryBody(BaseModel):
    """A geometry: one of `cells`, `smallest_defect`, `size`, or `resized` with `window`.

    With none of these the grid is unchanged, and only `on_mismatch` is set.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"smallest_defect": 12}]})

    cells: Annotated[int, Field(ge=1, le=65_536), JSON_INTEGER] | None = Field(
        None, description="Inspect the whole image, on a grid of at most this many cells."
    )
    smallest_defect: JsonFloat | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Inspect the whole image, with cells twice as long as a defect of this many pixels of the uploaded "
        "image, or of this many millimetres if `millimetres_per_pixel` is given.",
    )
    millimetres_per_pixel: JsonFloat | None = Field(
        None, gt=0, allow_inf_nan=False, description="Size of a pixel of the image."
    )
    size: tuple[_Pixels, _Pixels] | None = Field(
        None, description="Inspect the whole image, scaled to (width, height) pixels, rounded to whole cells."
    )
    resized: tuple[_Pixels, _Pixels] | None = Field(
        None, description="Scale the image to (width, height) pixels and inspect `window` of it."
    )
    window: tuple[_Offset, _Offset, _Pixels, _Pixels] | None = Field(
        None, description="(left, top, width, height) in pixels of `resized`; sides are whole cells."
    )
    on_mismatch: OnMismatch | None = Field(
        None, description="How images with another aspect ratio are treated; null: unchanged."
    )


class AdviceRequest(GeometryBody):
    """A geometry, and the images it is for: those of a category, or of a given size."""

    category: CategoryName | None = Field(
        None, description="Category whose image size, number of references, K and codec are used."
    )
    width: _Pixels | None = Field(None, description="Width of the images in pixels, if no category is given.")
    height: _Pixels | None = None
    references: Annotated[int, Field(ge=1, le=10_000_000), JSON_INTEGER] | None = Field(
        None, description="Number of references; default: those of the category, otherwise 150."
    )


class AdviceView(ResponseModel):
    """The resulting geometry and its estimated cost; no image was encoded."""

    geometry: GeometryView
    cells: int
    smallest_defect: float = Field(
        description="Half the length of a cell, in pixels of the uploaded image: the smallest defect that the "
        "geometry is for."
    )
    encode_ms: float = Field(description="Encoding time per image.")
    search_ms: float = Field(
        description="Search time per image, in `references` references, or K of them if that is less."
    )
    reference_bytes: int = Field(description="Bytes per reference, in memory and on disk.")
    references: int
    memory_bytes: int = Field(description="Bytes of all references.")


def geometry_view(geometry: InputGeometry, patch: int, region: RegionOfInterest | None = None) -> GeometryView:
    """A geometry as the API shows it."""
    return GeometryView(
        resized=geometry.resized,
        window=geometry.window,
        on_mismatch=geometry.on_mismatch,
        grid=geometry.grid(patch),
        inspected=inspected_view(geometry, geometry.resized, region),
    )


def inspected_view(geometry: InputGeometry, image_size: Size, region: RegionOfInterest | None) -> InspectedView:
    """What of an image of (width, height) pixels is inspected. OtherProportions when the geometry refuses such."""
    width, height = image_size
    left, top, right, bottom = geometry.placement(image_size).inspected_box
    x, y = (left / width, right / width), (top / height, bottom / height)
    corners = (x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])
    if region is None:
        return InspectedView(fraction=(x[1] - x[0]) * (y[1] - y[0]), polygon=corners, region=None)
    return InspectedView(fraction=inspected_fraction(region, corners), polygon=corners, region=region_view(region))
