"""Inspections as they are answered at once, with the images that were asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.schemas.base import ResponseModel
from service.schemas.inspections import InspectionView
from service.schemas.problem import Problem


class MapView(ResponseModel):
    """The anomaly map over the inspected window: 256 pixels for every 28 cells, at most 1024 a side."""

    format: Literal["png16", "npy"]
    data: str = Field(description="Base64. png16: 16-bit grey, value / 65535 × scale. npy: float32.")
    scale: float


class DetectionView(InspectionView):
    """An inspection with the requested images."""

    map: MapView | None = None
    overlay: str | None = Field(None, description="Base64 of a PNG: the image with the map and regions drawn in.")
    recorded: bool | None = Field(
        description="Whether the history has this inspection: false when it had no room or the database did not "
        "answer; null when that is not known yet, because the request did not wait for it or the database's answer was "
        "lost, and `GET /inspections/{id}` will tell."
    )
    references_needed: int | None = Field(
        None, description="With the verdict `uncalibrated`: how many references the category's false-reject rate needs."
    )
    advice: str | None = Field(None, description="With the verdict `uncalibrated`: what to do to get verdicts.")


class RejectedImageView(ResponseModel):
    """One of several images that could not be inspected."""

    filename: str
    error: Problem


class DetectResponse(ResponseModel):
    """One result per image, in order."""

    version: int
    results: tuple[DetectionView | RejectedImageView, ...]
