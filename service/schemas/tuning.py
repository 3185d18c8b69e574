"""Tunings: what other settings would separate a test set better, and by how much."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.base import ResponseModel


class TuningResultView(ResponseModel):
    """What cross-validation says: settings are chosen on a part of the images and judged on the others."""

    better: bool = Field(
        description="Whether `changes` are recommended: `low` is above 0. Where no settings are better, this is true "
        "once in twenty times at most."
    )
    changes: dict[str, Any] = Field(
        description="The settings that separate all images best, where they differ from the present ones; apply them "
        "with `PATCH /categories/{name}`."
    )
    auroc: float = Field(description="Of the present settings.")
    gain: float = Field(description="What choosing adds to the AUROC, on images that the choice was not made on.")
    low: float = Field(description="Lower end of the 98 % interval of `gain`.")
    high: float
    agreement: float = Field(description="Of the choices on parts of the images, the share that are `changes`.")
    good: int
    defective: int
    skipped: int = Field(description="Images that could not be inspected.")
    candidates: int = Field(description="Combinations of settings that were tried.")


class TuningView(ResponseModel):
    """A tuning: requested, under way, finished, or ended by an error."""

    requested_at: datetime
    finished_at: datetime | None = Field(description="Null while it waits or is under way.")
    images: int
    done: int = Field(description="Images scored so far.")
    settings: dict[str, Any] = Field(description="As they were, with `geometry`; empty before it began.")
    outdated: bool = Field(description="Whether references, settings or test images have changed since.")
    error: str | None
    result: TuningResultView | None


class TuningStatusView(ResponseModel):
    """A category's latest tuning, and how many images one takes."""

    tuning: TuningView | None
    min_good: int
    min_defective: int
