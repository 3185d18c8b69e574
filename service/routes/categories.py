"""`/categories`: settings, region of interest, calibration, drift, removal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from indexer.domain.category import Category, SettingsChanges
from indexer.domain.coreset import CoresetRecord
from indexer.domain.drift import ALARM, DriftMartingale, DriftTest
from indexer.domain.geometry import InputGeometry
from indexer.domain.roi import RegionOfInterest
from indexer.domain.snapshot import GeometryChange
from indexer.imaging.encode import encode_png
from indexer.imaging.roi import MASK_SIDE, rasterise
from service.http.problem_types import documented_problems
from service.http.problems import to_problem
from service.http.uploads import NoFields, documented_upload, read_upload
from service.routes.calibration_view import calibration_view
from service.routes.coreset_view import coreset_view
from service.routes.dependencies import OnboardingLease, RestoredUntil, RestoreLimit, app_state
from service.routes.geometry import geometry_choice
from service.schemas.calibration import AlignmentView, DriftView, MartingaleView, ScoresResponse
from service.schemas.categories import (
    CategoriesResponse,
    CategoryPatch,
    CategoryView,
    LostReference,
    RemovedCategoryView,
    RestoredCategory,
    SettingsView,
    settings_json,
)
from service.schemas.geometry import GeometryChangeView, geometry_view
from service.schemas.inspections import DriftPartsView, inspection_view
from service.schemas.references import Removed
from service.schemas.text import CategoryName
from service.state import AppState
from service.usecases import onboard
from service.usecases.alignment import alignment_of
from service.usecases.coresets import coresets_by_category
from service.usecases.drift import drifting_parts
from service.usecases.geometry import change_geometry, requested_geometry
from service.usecases.settings import masked_region, settings_changes

router = APIRouter(prefix="/categories", tags=["categories"])

Name = Annotated[CategoryName, Path()]


@router.get("", responses=documented_problems())
async def categories(state: Annotated[AppState, Depends(app_state)]) -> CategoriesResponse:
    """All categories by name, and removed ones that can be restored."""
    categories = await asyncio.to_thread(state.reference_store.catalogue.categories.list)
    drifts = await asyncio.to_thread(state.reference_store.catalogue.calibrations.drifts)
    removed = await asyncio.to_thread(state.reference_store.catalogue.categories.removed)
    geometry_changes = await _geometry_changes(state)
    coresets = await coresets_by_category(state)
    return CategoriesResponse(
        categories=tuple(
            _view(
                state,
                category,
                drifts.get(category.name),
                geometry_changes.get(category.name),
                coresets.get(category.name, ()),
            )
            for category in categories
        ),
        removed=tuple(RemovedCategoryView(**asdict(category)) for category in removed),
    )


@router.get("/{name}", responses=documented_problems("not-found"))
async def category(name: Name, state: Annotated[AppState, Depends(app_state)]) -> CategoryView:
    """One category."""
    return await _shown(state, name)


@router.patch("/{name}", responses=documented_problems("not-found", "conflict"))
async def update_category(
    name: Name, patch: CategoryPatch, state: Annotated[AppState, Depends(app_state)]
) -> CategoryView:
    """Change some of a category's settings; they apply to detections that start after the response.

    A new `geometry` re-encodes all references in the background, and takes effect when that is complete.

    Other replicas apply the change within a second, or immediately for a detection that requires the response's
    `X-Index-Version`.
    """
    patched = patch.model_dump(exclude_unset=True, exclude={"geometry"})
    geometry = None
    if patch.geometry is not None:
        geometry = await requested_geometry(state, name, geometry_choice(patch.geometry))
    changes = await settings_changes(state, name, patched, geometry)
    if geometry is not None:
        await change_geometry(state, name, geometry)
    return await _changed(state, name, changes)


@router.put(
    "/{name}/region-of-interest",
    openapi_extra=documented_upload(NoFields),
    responses=documented_problems(
        "not-found", "image-rejected", "image-too-large", "unsupported-format", "request-too-large", "queue-full"
    ),
)
async def set_region_of_interest(
    name: Name, request: Request, state: Annotated[AppState, Depends(app_state)], _admitted: OnboardingLease
) -> CategoryView:
    """Set the region of interest from a mask image, which is scaled to the whole image: only non-black pixels are
    inspected.

    Every value other than 0 is inside, for example 1 or 255, in 8 or 16 bits. The outlines of its areas become
    `polygons`, those of holes within them `ignored`, at most 64 of each; a mask without black sets it to null.
    """
    upload, _ = await read_upload(request, NoFields, 1)
    stored = await state.onboarding_decoder.read(upload.files[0])
    region = await masked_region(state, name, stored.levels > 0)
    return await _changed(state, name, {"region_of_interest": region})


@router.get("/{name}/scores", responses=documented_problems("not-found"))
async def scores(name: Name, state: Annotated[AppState, Depends(app_state)]) -> ScoresResponse:
    """The leave-one-out scores that the threshold is computed from, ascending, with their references; empty until
    calibrated.
    """
    category = await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    calibration = state.calibrations.of(name)
    if calibration is None or len(calibration) == 0:
        return ScoresResponse(version=None, scores=(), references=(), rates=(), rate_index=None)
    rates = calibration.scores.rates()
    ranked = sorted((score, reference_id) for reference_id, score in calibration.reference_scores.items())
    return ScoresResponse(
        version=calibration.version,
        scores=tuple(score for score, _ in ranked),
        references=tuple(reference_id for _, reference_id in ranked),
        rates=tuple(rates),
        rate_index=min(calibration.scores.deciding(category.settings.false_reject_rate), len(rates)) - 1,
    )


@router.get("/{name}/alignment", responses=documented_problems("not-found", "not-ready"))
async def alignment(name: Name, state: Annotated[AppState, Depends(app_state)]) -> AlignmentView:
    """Whether its parts lie in the same place in all images, measured on up to 8 references."""
    measured, settings = await alignment_of(state, name)
    if measured is None:
        return AlignmentView(references=0, distance_left=None, distance_in_place=None, advice=None)
    return AlignmentView(
        references=measured.references,
        distance_left=measured.distance_left,
        distance_in_place=measured.distance_in_place,
        advice=measured.advice(settings.rho),
    )


@router.get("/{name}/region-of-interest.png", response_class=Response, responses=documented_problems("not-found"))
async def region_of_interest(name: Name, state: Annotated[AppState, Depends(app_state)]) -> Response:
    """The inspected area as a mask over the whole image: 256×256, white is inspected.

    It is the region of interest within the window of the category's geometry.
    """
    category = await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    region = category.settings.region_of_interest
    shown = state.reference_store.geometry_of(name).polygon
    inside = np.ones((MASK_SIDE, MASK_SIDE), np.bool_) if region is None else rasterise(region, (MASK_SIDE, MASK_SIDE))
    inside &= rasterise(RegionOfInterest((shown,)), (MASK_SIDE, MASK_SIDE))
    return Response(encode_png(inside.astype(np.uint8) * np.uint8(255)), media_type="image/png")


@router.get("/{name}/drift", responses=documented_problems("not-found"))
async def drift(
    name: Name,
    state: Annotated[AppState, Depends(app_state)],
    limit: Annotated[int, Query(ge=1, le=100, description="Parts, at most.")] = 12,
) -> DriftPartsView:
    """Where its drift tests stand, and the parts that moved them most."""
    await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    drift_test = (await asyncio.to_thread(state.reference_store.catalogue.calibrations.drifts)).get(name)
    if drift_test is None:
        return DriftPartsView(drift=None, parts=())
    parts = await asyncio.to_thread(drifting_parts, state.reference_store.catalogue, name, drift_test, limit)
    return DriftPartsView(drift=_drift_view(drift_test), parts=tuple(map(inspection_view, parts)))


@router.post("/{name}/drift/restart", responses=documented_problems("not-found"))
async def restart_drift(name: Name, state: Annotated[AppState, Depends(app_state)]) -> CategoryView:
    """Restart the drift tests and clear their alarm, for example after the camera or the lighting was corrected."""
    await asyncio.to_thread(state.reference_store.catalogue.calibrations.restart_drift, name)
    return await _shown(state, name)


@router.delete("/{name}", responses=documented_problems("not-found"))
async def remove_category(name: Name, state: Annotated[AppState, Depends(app_state)]) -> Removed:
    """Remove a category with all its references. Its inspections remain in the history."""
    return Removed(version=await asyncio.to_thread(state.reference_store.remove_category, name))


@router.post("/{name}/restore", responses=documented_problems("not-found", "storage-full", "not-ready", "queue-full"))
async def restore_category(
    name: Name,
    state: Annotated[AppState, Depends(app_state)],
    admitted: OnboardingLease,
    after: RestoredUntil,
    limit: RestoreLimit = 16,
) -> RestoredCategory:
    """Restore a removed category with its settings, and the references that were removed with it.

    Each request restores at most `limit` references: repeat it with `next_cursor` until that is null. Possible for 30
    days. A reference whose image is lost does not prevent the others from being restored. Idempotent.
    """
    await asyncio.to_thread(state.reference_store.restore_category, name)
    references = state.reference_store.catalogue.references
    removed = await asyncio.to_thread(references.removed_with, name, after, limit + 1)
    admitted.add(max(0, len(removed[:limit]) - 1))
    outcomes = await onboard.restore(state, name, removed[:limit])
    lost = tuple(
        LostReference(reference_id=reference.id, filename=reference.filename, detail=to_problem(outcome).detail)
        for reference, outcome in zip(removed, outcomes, strict=False)
        if isinstance(outcome, Exception)
    )
    return RestoredCategory(
        category=await _shown(state, name),
        restored=len(outcomes) - len(lost),
        lost=lost,
        next_cursor=str(removed[limit - 1].id) if len(removed) > limit else None,
    )


async def _changed(state: AppState, name: str, changes: SettingsChanges) -> CategoryView:
    await asyncio.to_thread(state.reference_store.change_settings, name, changes)
    return await _shown(state, name)


async def _shown(state: AppState, name: str) -> CategoryView:
    category = await asyncio.to_thread(state.reference_store.catalogue.categories.get, name)
    drifts = await asyncio.to_thread(state.reference_store.catalogue.calibrations.drifts)
    coresets = await asyncio.to_thread(state.reference_store.catalogue.coresets.of, name)
    return _view(state, category, drifts.get(name), (await _geometry_changes(state)).get(name), coresets)


async def _geometry_changes(state: AppState) -> dict[str, GeometryChangeView]:
    """What is about to get another geometry, by category: also what is committed and not served here yet."""
    memory, geometries = state.reference_store.memory, state.reference_store.catalogue.geometries
    pending = await asyncio.to_thread(geometries.changes, state.reference_store.memory_id)
    active = await asyncio.to_thread(geometries.active, state.reference_store.memory_id)
    changes = {change.record.category: _change_view(state, change) for change in pending}
    for name, text in active.items():
        if (geometry := InputGeometry.from_json(text)) != memory.geometry_of(name):
            encoded = len(memory.rows_of(name))
            view = geometry_view(geometry, memory.space.patch)
            changes[name] = GeometryChangeView(geometry=view, encoded=encoded, references=encoded, error=None)
    return changes


def _view(
    state: AppState,
    category: Category,
    drift: DriftTest | None,
    geometry_change: GeometryChangeView | None,
    coresets: Sequence[CoresetRecord],
) -> CategoryView:
    return CategoryView(
        name=category.name,
        references=category.references,
        created=category.created_at,
        settings=SettingsView(**settings_json(asdict(category.settings))),
        calibration=calibration_view(state, category.name, category.settings),
        drift=None if drift is None else _drift_view(drift),
        geometry=geometry_view(
            state.reference_store.geometry_of(category.name),
            state.encoder.space.patch,
            category.settings.region_of_interest,
        ),
        geometry_change=geometry_change,
        coreset=coreset_view(state, category.name, coresets),
    )


def _change_view(state: AppState, change: GeometryChange) -> GeometryChangeView:
    geometry = InputGeometry.from_json(change.record.geometry_json)
    return GeometryChangeView(
        geometry=geometry_view(geometry, state.encoder.space.patch),
        encoded=change.encoded,
        references=change.references,
        error=change.record.error,
    )


def _drift_view(drift_test: DriftTest) -> DriftView:
    return DriftView(
        state=drift_test.state,
        inspections=drift_test.scores.inspections,
        scores=_martingale_view(drift_test.scores),
        scene=_martingale_view(drift_test.scene),
        alarm=ALARM,
        since=drift_test.started_at,
        flagged_at=drift_test.flagged_at,
    )


def _martingale_view(martingale: DriftMartingale) -> MartingaleView:
    return MartingaleView(
        p_values=martingale.counts, evidence=martingale.evidence, max_evidence=martingale.max_evidence
    )
