"""`/categories`: the products, how they are inspected and how well that is calibrated."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, cast

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from indexer.domain.bit_depth import FULL
from indexer.domain.category import Category, SettingsChanges
from indexer.domain.drift import ALARM, DriftTest
from indexer.domain.errors import InvalidCursor
from indexer.domain.profile import Profile
from indexer.domain.roi import RegionOfInterest
from indexer.imaging.encode import encode_png
from indexer.imaging.roi import MASK_SIDE, inspected_cells, rasterise, region_from_mask
from service.http.problems import ProblemError, documented, translate
from service.http.uploads import documented_upload, read_upload
from service.routes.dependencies import OnboardingLease, runtime
from service.schemas.calibration import DriftView, ScoresAnswer
from service.schemas.categories import (
    CategoriesAnswer,
    CategoryView,
    LostReference,
    RemovedCategoryView,
    RestoredCategory,
    SettingsPatch,
    SettingsView,
)
from service.schemas.references import Removed
from service.schemas.text import CategoryName, Text
from service.state import Runtime
from service.usecases import onboard

router = APIRouter(prefix="/categories", tags=["categories"])

Name = Annotated[CategoryName, Path()]


class _NoFields(BaseModel):
    """A mask comes without text fields."""

    model_config = ConfigDict(extra="forbid")


@router.get("", responses=documented())
async def categories(running: Annotated[Runtime, Depends(runtime)]) -> CategoriesAnswer:
    """All categories by name, and those that can be restored."""
    found = await asyncio.to_thread(running.library.catalogue.categories.list)
    drifts = await asyncio.to_thread(running.library.catalogue.calibrations.drifts)
    removed = await asyncio.to_thread(running.library.catalogue.categories.removed)
    return CategoriesAnswer(
        categories=tuple(_view(running, each, drifts.get(each.name)) for each in found),
        removed=tuple(RemovedCategoryView(**asdict(each)) for each in removed),
    )


@router.get("/{name}", responses=documented("not-found"))
async def category(name: Name, running: Annotated[Runtime, Depends(runtime)]) -> CategoryView:
    """One category."""
    return await _shown(running, name)


@router.patch("/{name}", responses=documented("not-found", "conflict"))
async def change(name: Name, patch: SettingsPatch, running: Annotated[Runtime, Depends(runtime)]) -> CategoryView:
    """Change some of a category's settings; detections that begin after the answer use them.

    Other replicas follow within a second, and at once where a detection asks for the answer's `X-Snapshot-Version`.
    """
    return await _changed(running, name, settings_changes(running, name, patch))


@router.put(
    "/{name}/region-of-interest",
    openapi_extra=documented_upload(_NoFields),
    responses=documented(
        "not-found", "image-refused", "image-too-large", "unsupported-format", "request-too-large", "busy"
    ),
)
async def mask(
    name: Name, request: Request, running: Annotated[Runtime, Depends(runtime)], _admitted: OnboardingLease
) -> CategoryView:
    """Inspect only where a mask picture, laid over the whole picture, is not black. Its size does not matter.

    Any value but 0 is inside, be it 1 or 255, in 8 bits or 16.
    """
    upload, _ = await read_upload(request, _NoFields, 1)
    stored = await running.onboarding_decoder.read(upload.files[0])
    region = _usable(running, region_from_mask(stored.levels > 0))
    return await _changed(running, name, {"region_of_interest": region})


@router.get("/{name}/scores", responses=documented("not-found"))
async def scores(name: Name, running: Annotated[Runtime, Depends(runtime)]) -> ScoresAnswer:
    """The leave-one-out scores that its threshold rests on, ascending, and whose each is; empty until calibrated."""
    await asyncio.to_thread(running.library.catalogue.categories.get, name)
    found = running.calibrations.of(name)
    if found is None:
        return ScoresAnswer(version=None, scores=(), references=())
    ranked = sorted(zip((each.score for each in found.measures), found.references, strict=True))
    return ScoresAnswer(
        version=found.version, scores=tuple(score for score, _ in ranked), references=tuple(one for _, one in ranked)
    )


@router.get("/{name}/region-of-interest.png", response_class=Response, responses=documented("not-found"))
async def drawn(name: Name, running: Annotated[Runtime, Depends(runtime)]) -> Response:
    """Where pictures are inspected, as a mask over the whole picture: 256×256, white is inspected."""
    found = await asyncio.to_thread(running.library.catalogue.categories.get, name)
    region = found.settings.region_of_interest
    inside = np.ones((MASK_SIDE, MASK_SIDE), np.bool_) if region is None else rasterise(region, MASK_SIDE)
    return Response(encode_png(inside.astype(np.uint8) * np.uint8(255)), media_type="image/png")


@router.post("/{name}/drift/restart", responses=documented("not-found"))
async def restart_drift(name: Name, running: Annotated[Runtime, Depends(runtime)]) -> CategoryView:
    """Begin the drift test anew, with its flag lowered: after the camera or the light has been put right."""
    await asyncio.to_thread(running.library.catalogue.calibrations.restart_drift, name)
    return await _shown(running, name)


@router.delete("/{name}", responses=documented("not-found"))
async def remove(name: Name, running: Annotated[Runtime, Depends(runtime)]) -> Removed:
    """Take back a category with all its references. Its inspections stay in the history."""
    return Removed(version=await asyncio.to_thread(running.library.remove_category, name))


@router.post("/{name}/restore", responses=documented("not-found", "storage-full", "not-ready", "busy"))
async def restore(
    name: Name,
    running: Annotated[Runtime, Depends(runtime)],
    admitted: OnboardingLease,
    cursor: Annotated[Text | None, Query(description="`next_cursor` of the answer before, to go on.")] = None,
    limit: Annotated[int, Query(ge=1, le=64, description="References restored by this request, at most.")] = 16,
) -> RestoredCategory:
    """Make a removed category one again, with its settings, and restore the references that were removed with it.

    They come back `limit` at a time: repeat the request with `next_cursor` until that is null. Possible for 30 days.
    One whose picture is lost keeps none of the others. Safe to repeat: what is live already stays as it is.
    """
    if cursor is not None and (not cursor.isdecimal() or len(cursor) > 18):
        raise InvalidCursor("not a cursor of a restored category")
    await asyncio.to_thread(running.library.restore_category, name)
    references = running.library.catalogue.references
    found = await asyncio.to_thread(references.removed_with, name, int(cursor or -1), limit + 1)
    admitted.add(max(0, len(found[:limit]) - 1))
    outcomes = await onboard.restore(running, name, found[:limit])
    lost = tuple(
        LostReference(reference_id=each.id, filename=each.filename, detail=translate(outcome).detail)
        for each, outcome in zip(found, outcomes, strict=False)
        if isinstance(outcome, Exception)
    )
    return RestoredCategory(
        category=await _shown(running, name), restored=len(outcomes) - len(lost), lost=lost,
        next_cursor=str(found[limit - 1].id) if len(found) > limit else None,
    )  # fmt: skip


def settings_changes(running: Runtime, name: str, patch: SettingsPatch) -> SettingsChanges:
    """What a request wants changed. ProblemError when the encoder has no such layers or cells."""
    changes = patch.model_dump(exclude_unset=True)
    if (weights := changes.get("layer_weights")) is not None:
        layers = len(running.encoder.space.layers)
        if len(weights) != layers or not any(weights):
            detail = f"layer_weights: give {layers} weights of 0 or more, not all 0."
            raise ProblemError("invalid-request", detail)
        changes["layer_weights"] = tuple(weights)
    if "bit_depth" in changes:
        depth = changes["bit_depth"] or FULL  # as which files are read while nothing is decided
        if others := running.library.published.profiles.get(name, Profile()).other_depths(depth):
            raise ProblemError(
                "conflict",
                f"{others} references of 16 bits a channel were read as of another depth: take them back, and send "
                "them again with the bit_depth that they have.",
            )
    if (region := changes.get("region_of_interest")) is not None:
        polygons = tuple(tuple(polygon) for polygon in region["polygons"])
        changes["region_of_interest"] = _usable(running, RegionOfInterest(polygons))
    return cast(SettingsChanges, changes)


async def _changed(running: Runtime, name: str, changes: SettingsChanges) -> CategoryView:
    await asyncio.to_thread(running.library.change_settings, name, changes)
    return await _shown(running, name)


async def _shown(running: Runtime, name: str) -> CategoryView:
    found = await asyncio.to_thread(running.library.catalogue.categories.get, name)
    drifts = await asyncio.to_thread(running.library.catalogue.calibrations.drifts)
    return _view(running, found, drifts.get(name))


def _usable(running: Runtime, region: RegionOfInterest) -> RegionOfInterest:
    space = running.encoder.space
    try:
        inspected_cells(region, space.grid, space.geometry)
    except ValueError as error:
        raise ProblemError("invalid-request", f"region_of_interest: {error}.") from None
    return region


def _view(running: Runtime, found: Category, kept: DriftTest | None) -> CategoryView:
    settings = asdict(found.settings)
    region = found.settings.region_of_interest
    if region is not None:
        settings["region_of_interest"] = {"polygons": region.polygons, "mask": region.mask is not None}
    return CategoryView(
        name=found.name, references=found.references, created=found.created_at,
        settings=SettingsView(**settings), calibration=running.calibration_view(found.name, found.settings),
        drift=None if kept is None else _drift_view(kept),
    )  # fmt: skip


def _drift_view(kept: DriftTest) -> DriftView:
    drift = kept.drift
    return DriftView(
        state="steady" if kept.flagged_at is None else "drifting", inspections=drift.inspections,
        p_values=drift.counts, evidence=drift.evidence, highest=drift.highest, alarm=ALARM,
        since=kept.started_at, flagged_at=kept.flagged_at,
    )  # fmt: skip
