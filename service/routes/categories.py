"""`/categories`: the products, how they are inspected and how well that is calibrated."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Path

from indexer.catalogue import Category, SettingsChanges
from service.problems import ProblemError, documented
from service.runtime import Runtime, runtime
from service.schemas import CategoriesAnswer, CategoryName, CategoryView, Removed, SettingsPatch, SettingsView

router = APIRouter(prefix="/categories", tags=["categories"])

Name = Annotated[CategoryName, Path()]


@router.get("", responses=documented())
async def categories(running: Annotated[Runtime, Depends(runtime)]) -> CategoriesAnswer:
    """All categories by name."""
    found = await asyncio.to_thread(running.library.catalogue.categories)
    return CategoriesAnswer(categories=tuple(_view(running, each) for each in found))


@router.get("/{name}", responses=documented("not-found"))
async def category(name: Name, running: Annotated[Runtime, Depends(runtime)]) -> CategoryView:
    """One category."""
    return _view(running, await asyncio.to_thread(running.library.catalogue.category, name))


@router.patch("/{name}", responses=documented("not-found"))
async def change(name: Name, patch: SettingsPatch, running: Annotated[Runtime, Depends(runtime)]) -> CategoryView:
    """Change some of a category's settings; detections that begin after the answer use them."""
    changes = patch.model_dump(exclude_unset=True)
    if (weights := changes.get("layer_weights")) is not None:
        layers = len(running.encoder.space.layers)
        if len(weights) != layers or not any(weights):
            detail = f"layer_weights: give {layers} weights of 0 or more, not all 0."
            raise ProblemError("invalid-request", detail)
        changes["layer_weights"] = tuple(weights)
    changed = await asyncio.to_thread(running.library.catalogue.update_settings, name, cast(SettingsChanges, changes))
    await asyncio.to_thread(running.library.refresh)
    return _view(running, changed)


@router.delete("/{name}", responses=documented("not-found"))
async def remove(name: Name, running: Annotated[Runtime, Depends(runtime)]) -> Removed:
    """Take back a category with all its references. Its inspections stay in the history."""
    return Removed(version=await asyncio.to_thread(running.library.remove_category, name))


def _view(running: Runtime, found: Category) -> CategoryView:
    return CategoryView(
        name=found.name, references=found.references, created=found.created_at,
        settings=SettingsView(**asdict(found.settings)),
        calibration=running.calibration_view(found.name, found.settings),
    )  # fmt: skip
