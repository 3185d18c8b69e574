"""Coresets of categories: how large one is to be, and what is searched."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.schemas.base import JsonFloat, ResponseModel


class CoresetRequest(BaseModel):
    """How large the coreset is to be: a `share` of the references, or as small as a `bound` allows."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"share": 0.25}, {"bound": 0.1}]})

    share: JsonFloat | None = Field(
        None, gt=0, lt=1, description="As many patches in each layer and cell, as a share of the references."
    )
    bound: JsonFloat | None = Field(
        None,
        gt=0,
        lt=2,
        description="As few patches in each layer and cell as raise no distance of a patch, and so no score, by more "
        "than this.",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> CoresetRequest:
        if (self.share is None) == (self.bound is None):
            raise ValueError("give one of share and bound")
        return self


class CoresetTargetView(ResponseModel):
    """How large the coreset is to be; one of the two."""

    share: float | None
    bound: float | None


class CoresetView(ResponseModel):
    """A category's coreset: patches of its references that are searched instead of all of them.

    `references` to `bound` are of the finished one; null before one is made.
    """

    target: CoresetTargetView
    state: Literal["requested", "in use", "not in use"] = Field(
        description="`requested`: one is to be made, all references are searched meanwhile; `in use`: it is searched, "
        "also while another one is made; `not in use`: all references are searched, because references that it stands "
        "for are gone or its file is damaged."
    )
    error: str | None = Field(description="Why the one that is asked for cannot be made; null while it can.")
    progress: float | None = Field(description="0 to 1 while one is asked for or made; null otherwise.")
    references: int | None = Field(description="References that it stands for.")
    patches: int | None = Field(description="Its patches in each layer and cell.")
    bytes: int | None = Field(description="Size of its file.")
    radii: dict[str, float] | None = Field(
        description="By layer, the largest distance of a reference's patch to the nearest patch of the coreset in the "
        "same cell. No distance of an image's patch is larger than among all references by more."
    )
    bound: float | None = Field(
        description="No image score is higher than among all references by more: the mean of `radii`, weighted as the "
        "layers are; their largest while those weights are not known."
    )
    beside: int = Field(description="References that are searched beside it, because it was made without them.")
