"""Checks changes of a category's settings against the encoder, and against how its references were read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from indexer.domain.bit_depth import FULL
from indexer.domain.category import SettingsChanges
from indexer.domain.geometry import InputGeometry
from indexer.domain.profile import Profile
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import check_radius
from indexer.imaging.roi import region_from_mask, roi_cells
from service.errors import Conflict, InvalidSetting
from service.state import AppState


async def settings_changes(state: AppState, name: str, requested: Mapping[str, Any]) -> SettingsChanges:
    """What a request wants changed, by its own names, as the category keeps it.

    InvalidSetting when the encoder has no such layers or cells, Conflict when references were read otherwise.
    """
    changes = dict(requested)
    if (weights := changes.get("layer_weights")) is not None:
        layers = len(state.encoder.space.layers)
        if len(weights) != layers or not any(weights):
            detail = f"layer_weights: give {layers} weights of 0 or more, not all 0."
            raise InvalidSetting(detail)
        changes["layer_weights"] = tuple(weights)
    if "rho" in changes:
        await check_rho(state, name, changes["rho"])
    if "bit_depth" in changes:
        depth = changes["bit_depth"] or FULL  # as which files are read while nothing is decided
        if others := state.reference_store.published.profiles.get(name, Profile()).other_depths(depth):
            raise Conflict(
                f"{others} 16-bit references were read with another bit depth: remove them, and send "
                "them again with the right bit_depth.",
            )
    if (region := changes.get("region_of_interest")) is not None:
        changes["region_of_interest"] = _usable_region(state, name, lambda: RegionOfInterest.from_json(region))
    return cast(SettingsChanges, changes)


def masked_region(state: AppState, name: str, inside: NDArray[np.bool_]) -> RegionOfInterest | None:
    """The region of a mask, bool (height, width); None for the whole image. InvalidSetting when there is none."""
    return _usable_region(state, name, lambda: region_from_mask(inside))


async def check_rho(state: AppState, name: str, rho: int) -> None:
    """InvalidSetting when ρ does not suit the grid of a category, or the one that it is about to get."""
    memory, catalogue = state.reference_store.memory, state.reference_store.catalogue
    geometries = [memory.geometry_of(name)]
    for change in await asyncio.to_thread(catalogue.geometries.changes, state.reference_store.memory_id):
        if change.record.category == name:
            geometries.append(InputGeometry.from_json(change.record.geometry_json))
    try:
        for geometry in geometries:
            check_radius(rho, geometry.grid(memory.space.patch))
    except ValueError as error:
        raise InvalidSetting(str(error)) from None


def _usable_region(state: AppState, name: str, read: Callable[[], RegionOfInterest | None]) -> RegionOfInterest | None:
    """The region that `read` returns, if the category's images show any of it. InvalidSetting."""
    try:
        region = read()
        roi_cells(region, state.reference_store.memory.frame(name))
    except ValueError as error:
        raise InvalidSetting(f"region_of_interest: {error}.") from None
    return region
