"""How images of a category are scaled and cropped, what that costs, and how somebody asks for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from indexer.domain.geometry import InputGeometry, OnMismatch, Size
from service.schemas.base import JSON_INTEGER, JsonFloat, ResponseModel
from service.schemas.text import CategoryName

_Pixels = Annotated[int, Field(ge=1, le=16_384), JSON_INTEGER]
_Offset = Annotated[int, Field(ge=0, le=16_384), JSON_INTEGER]


class InspectedView(ResponseModel):
    """What of an image is inspected; a region of interest can only make it less."""

    fraction: float = Field(description="Of the image's area, above 0 and up to 1.")
    polygon: tuple[tuple[float, float], ...] = Field(
        description="Its corners (x, y) in fractions of the image's width and height, clockwise from the top left."
    )


class GeometryView(ResponseModel):
    """The whole image is scaled to `resized`; of that `window` is inspected, in cells."""

    resized: tuple[int, int] = Field(description="(width, height) in pixels.")
    window: tuple[int, int, int, int] = Field(description="(left, top, width, height) in pixels of `resized`.")
    on_mismatch: OnMismatch = Field(
        description="An image whose proportions differ by more than 5 %: `letterbox` keeps them, and what is left over "
        "is not scored; `refuse` answers `other-proportions`; `stretch` squashes it, as the paper does."
    )
    grid: tuple[int, int] = Field(description="(rows, columns) of cells.")
    inspected: InspectedView


class GeometryChangeView(ResponseModel):
    """A geometry that takes over once every reference is encoded under it; the present one serves until then."""

    geometry: GeometryView
    encoded: int = Field(description="References encoded so far.")
    references: int
    error: str | None = Field(description="Why it does not go on; null while it does.")


class GeometryBody(BaseModel):
    """A way to inspect: one of `cells`, `smallest_defect`, `size`, or `resized` with `window`.

    With none of them the grid stays, and `on_mismatch` changes alone.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"smallest_defect": 12}]})

    cells: Annotated[int, Field(ge=1, le=65_536), JSON_INTEGER] | None = Field(
        None, description="The whole image on a grid of at most so many cells."
    )
    smallest_defect: JsonFloat | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="The whole image, as fine as it takes to find a defect of so many pixels of the image as sent; of "
        "millimetres with `millimetres_per_pixel`.",
    )
    millimetres_per_pixel: JsonFloat | None = Field(
        None, gt=0, allow_inf_nan=False, description="How large a pixel of the image is."
    )
    size: tuple[_Pixels, _Pixels] | None = Field(
        None, description="The whole image at (width, height) pixels, rounded to whole cells."
    )
    resized: tuple[_Pixels, _Pixels] | None = Field(
        None, description="The whole image is scaled to (width, height) pixels, of which `window` is inspected."
    )
    window: tuple[_Offset, _Offset, _Pixels, _Pixels] | None = Field(
        None, description="(left, top, width, height) in pixels of `resized`; sides are whole cells."
    )
    on_mismatch: OnMismatch | None = Field(None, description="For images of other proportions; null as it is.")


class AdviceRequest(GeometryBody):
    """A way to inspect, and the images that are meant: of a category, or of a size."""

    category: CategoryName | None = Field(None, description="Its images, references, K and bytes are counted with.")
    width: _Pixels | None = Field(None, description="Of the images, in pixels; without a category.")
    height: _Pixels | None = None
    references: Annotated[int, Field(ge=1, le=10_000_000), JSON_INTEGER] | None = Field(
        None, description="References to count with; those of the category, else 150."
    )


class AdviceView(ResponseModel):
    """The geometry that a request comes to, and what it costs; nothing was encoded. Times are estimates."""

    geometry: GeometryView
    cells: int
    smallest_defect: float = Field(description="The smallest defect that is found, in pixels of the image as sent.")
    encode_ms: float = Field(description="Of one image.")
    search_ms: float = Field(description="Of one image, among `references`, or the category's K if that is less.")
    reference_bytes: int = Field(description="Of one reference, in memory and on the disk.")
    references: int
    memory_bytes: int = Field(description="Of all of them.")


def geometry_view(geometry: InputGeometry, patch: int) -> GeometryView:
    """A geometry as the API shows it."""
    return GeometryView(
        resized=geometry.resized,
        window=geometry.window,
        on_mismatch=geometry.on_mismatch,
        grid=geometry.grid(patch),
        inspected=inspected_view(geometry, geometry.resized),
    )


def inspected_view(geometry: InputGeometry, image_size: Size) -> InspectedView:
    """What of an image of (width, height) pixels a geometry shows. OtherProportions when it refuses such."""
    width, height = image_size
    left, top, right, bottom = geometry.placement(image_size).inspected_box
    x, y = (left / width, right / width), (top / height, bottom / height)
    corners = (x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])
    return InspectedView(fraction=(x[1] - x[0]) * (y[1] - y[0]), polygon=corners)
