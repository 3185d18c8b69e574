"""Chooses how images of a category are inspected: what it would cost, and changes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from indexer.domain.category import CategorySettings
from indexer.domain.geometry import InputGeometry, Size
from indexer.domain.geometry_choice import GeometryChoice, usual_size
from indexer.domain.profile import Profile
from indexer.search.cost import GeometryCost, check_memory, cost_of
from service.errors import InvalidSetting
from service.state import AppState

_REFERENCES = 150  # assumed unless the request says how many there will be


@dataclass(frozen=True)
class Advice:
    """A geometry that was asked about, and its cost."""

    geometry: InputGeometry
    cost: GeometryCost


async def advise(
    state: AppState, choice: GeometryChoice, category: str | None, image_size: Size | None, references: int | None
) -> Advice:
    """What a choice comes to and costs, for images of a category or of a size. GeometryError, CategoryNotFound."""
    memory = state.reference_store.memory
    present = None
    k = CategorySettings().k
    if category is not None:
        stored = await asyncio.to_thread(state.reference_store.catalogue.categories.get, category)
        present, k = state.reference_store.geometry_of(category), stored.settings.k
        image_size = image_size or usual_size(
            state.reference_store.published.profiles.get(category, Profile()), present
        )
        references = references or max(1, stored.references)
    if image_size is None:
        raise InvalidSetting("Give a category, or the width and height of its images.")
    expected_references = references or _REFERENCES
    geometry = resolved(state, choice, image_size, present, expected_references)
    pace = await state.geometry_pace()
    cost = cost_of(geometry, image_size, expected_references, k, pace, memory.space, memory.codec)
    return Advice(geometry, cost)


async def requested_geometry(state: AppState, category: str, choice: GeometryChoice) -> InputGeometry:
    """What a choice comes to, for the images of a category. GeometryError, CategoryNotFound."""
    stored = await asyncio.to_thread(state.reference_store.catalogue.categories.get, category)
    present = state.reference_store.geometry_of(category)
    size = usual_size(state.reference_store.published.profiles.get(category, Profile()), present)
    return resolved(state, choice, size, present, max(1, stored.references))


async def change_geometry(state: AppState, category: str, geometry: InputGeometry) -> None:
    """Begin to inspect a category in another way; its present geometry serves until all references are encoded.

    A change in progress is cancelled. CategoryNotFound.
    """
    memory_id = state.reference_store.published.memory_id
    await asyncio.to_thread(state.reference_store.catalogue.geometries.prepare, memory_id, category, geometry.to_json())
    state.background.geometry_changes.soon()


def resolved(
    state: AppState, choice: GeometryChoice, image_size: Size, present: InputGeometry | None, references: int
) -> InputGeometry:
    """The geometry that a choice comes to. GeometryError, naming what would fit."""
    memory = state.reference_store.memory
    geometry = choice.resolve(image_size, memory.space.patch, present)
    if not memory.mapped:
        check_memory(geometry, references, memory.space, memory.codec)
    return geometry
