"""Checks changes of a category's settings against the encoder, and against how its references were read."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from indexer.domain.bit_depth import FULL
from indexer.domain.category import CategorySettings, SettingsChanges
from indexer.domain.geometry import Frame, InputGeometry
from indexer.domain.profile import Profile
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import check_radius
from indexer.imaging.roi import region_from_mask, roi_cells
from service.errors import Conflict, InvalidSetting
from service.state import AppState

_OF_GRID = ("rho", "region_of_interest")  # the settings that depend on it
_NOW = " That is the present geometry, in use until the new one takes effect: change this setting then."
_THEN = " That is the geometry that the category is about to get."


async def settings_changes(
    state: AppState, name: str, requested: Mapping[str, Any], geometry: InputGeometry | None = None
) -> SettingsChanges:
    """What a request wants changed, by its own names, as the category keeps it.

    geometry: that it requests as well. CategoryNotFound, InvalidSetting when the encoder has no such layers or cells,
    Conflict when references were read otherwise.
    """
    changes = dict(requested)
    if (weights := changes.get("layer_weights")) is not None:
        layers = len(state.encoder.space.layers)
        if len(weights) != layers or not 0 < sum(weights) < math.inf:
            detail = f"layer_weights: give {layers} weights of 0 or more, not all 0, with a finite sum."
            raise InvalidSetting(detail)
        changes["layer_weights"] = tuple(weights)
    if "bit_depth" in changes:
        depth = changes["bit_depth"] or FULL  # as which files are read while nothing is decided
        if others := state.reference_store.published.profiles.get(name, Profile()).other_depths(depth):
            raise Conflict(
                f"{others} 16-bit references were read with another bit depth: remove them, and send "
                "them again with the right bit_depth.",
            )
    if (region := changes.get("region_of_interest")) is not None:
        try:
            changes["region_of_interest"] = RegionOfInterest.from_json(region)
        except ValueError as error:
            raise InvalidSetting(f"region_of_interest: {error}.") from None
    await check_fits(state, name, cast(SettingsChanges, changes), geometry)
    return cast(SettingsChanges, changes)


async def masked_region(state: AppState, name: str, inside: NDArray[np.bool_]) -> RegionOfInterest | None:
    """The region of a mask, bool (height, width); None for the whole image. As `settings_changes`."""
    try:
        region = await asyncio.to_thread(region_from_mask, inside)
    except ValueError as error:
        raise InvalidSetting(f"region_of_interest: {error}.") from None
    await check_fits(state, name, {"region_of_interest": region})
    return region


async def check_fits(
    state: AppState, name: str, changes: SettingsChanges, geometry: InputGeometry | None = None
) -> None:
    """InvalidSetting when ρ or the region of interest does not suit the grid of a category: the present one, to which
    changes apply at once, and the one that it is about to get.

    geometry: requested with the changes, in the place of the one that it was about to get. CategoryNotFound.
    """
    stored = await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    settings, memory = replace(stored.settings, **changes), state.reference_store.memory
    present = memory.geometry_of(name)
    coming = geometry or await _coming_geometry(state, name) or present
    _check_grid(settings, changes, present.frame(memory.space.patch), "" if coming == present else _NOW)
    if coming != present:
        affected = changes if geometry is None else _OF_GRID
        _check_grid(settings, affected, coming.frame(memory.space.patch), _THEN)


async def _coming_geometry(state: AppState, name: str) -> InputGeometry | None:
    """The geometry that the references of a category are being encoded again for."""
    geometries = state.reference_store.catalogue.geometries
    for change in await asyncio.to_thread(geometries.changes, state.reference_store.memory_id):
        if change.record.category == name:
            return InputGeometry.from_json(change.record.geometry_json)
    return None


def _check_grid(settings: CategorySettings, names: Container[str], frame: Frame, when: str) -> None:
    """InvalidSetting, with the sentence `when`, if one of the named settings does not suit a grid."""
    try:
        if "rho" in names:
            check_radius(settings.rho, frame.grid)
    except ValueError as error:
        raise InvalidSetting(f"{error}{when}") from None
    try:
        if "region_of_interest" in names:
            roi_cells(settings.region_of_interest, frame)
    except ValueError as error:
        raise InvalidSetting(f"region_of_interest: {error}.{when}") from None
