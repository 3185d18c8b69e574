"""Regions of interest: responses and requests."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from indexer.domain.roi import MAX_CORNERS, MAX_POLYGONS, RegionOfInterest
from service.schemas.base import JsonFloat, ResponseModel

_MAX_CORNERS_TOGETHER = 4096
_EXAMPLE = [[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]]
_IGNORED_EXAMPLE = [[[0.4, 0.4], [0.6, 0.4], [0.5, 0.6]]]

_Fraction = Annotated[JsonFloat, Field(ge=0, le=1)]
_PolygonBody = Annotated[list[tuple[_Fraction, _Fraction]], Field(min_length=3, max_length=MAX_CORNERS)]
_PolygonView = tuple[tuple[float, float], ...]


class RegionOfInterestView(ResponseModel):
    """A region of interest: what lies in `polygons`, or without any the whole image, except what lies in `ignored`.

    Corners (x, y) are in fractions of the image's width and height.
    """

    polygons: tuple[_PolygonView, ...]
    ignored: tuple[_PolygonView, ...]
    mask: bool = Field(
        description="A mask of an earlier version says it instead; `GET /categories/{name}/region-of-interest.png` "
        "returns that as an image."
    )


class RegionOfInterestBody(BaseModel):
    """What lies in `polygons` is inspected, or without any the whole image, except what lies in `ignored`.

    Corners (x, y) are in fractions of the image's width and height. At most 4,096 corners together.
    """

    model_config = ConfigDict(extra="forbid")

    polygons: list[_PolygonBody] = Field([], max_length=MAX_POLYGONS, examples=[_EXAMPLE])
    ignored: list[_PolygonBody] = Field([], max_length=MAX_POLYGONS, examples=[_IGNORED_EXAMPLE])

    @model_validator(mode="after")
    def _of_some_size(self) -> Self:
        if not self.polygons and not self.ignored:
            raise ValueError("give `polygons`, `ignored` or both; null inspects everywhere")
        if sum(map(len, self.polygons + self.ignored)) > _MAX_CORNERS_TOGETHER:
            raise ValueError(f"at most {_MAX_CORNERS_TOGETHER} corners together")
        return self


def region_view(region: RegionOfInterest) -> RegionOfInterestView:
    """A region as the API shows it: of a mask, which is an image, only that there is one."""
    return RegionOfInterestView(polygons=region.polygons, ignored=region.ignored, mask=region.mask is not None)
