"""`/references`: add, list, show, remove, restore."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from indexer.domain.finding import FINDING_KINDS, FindingKind
from indexer.domain.geometry import OnMismatch
from indexer.domain.geometry_choice import GeometryChoice
from indexer.domain.reference import Reference, ReferenceOrder
from indexer.imaging.decode import ImageRejected
from indexer.references.reference_store import AddOutcome
from service.http.image_response import Side, image_response
from service.http.problem_types import ProblemError, documented_problems
from service.http.uploads import documented_upload, read_upload
from service.inference.decoder import ImageFile
from service.routes.calibration_view import calibration_view
from service.routes.dependencies import PAGE_LIMIT, OnboardingLease, PageCursor, PageLimit, StoredBytesLease, app_state
from service.schemas.categories import BitDepthField
from service.schemas.encoding import NoticeView, encoding_view
from service.schemas.references import (
    FindingView,
    ReferencePage,
    ReferenceResult,
    ReferencesResponse,
    ReferencesToRemove,
    ReferenceView,
    Removed,
    RemovedMany,
)
from service.schemas.text import CategoryName, Text
from service.state import AppState
from service.usecases import onboard
from service.usecases.stored_images import read_stored_image

router = APIRouter(prefix="/references", tags=["references"])


def _listed(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


_Id = Annotated[int, Path(ge=0, lt=2**63)]


class _Options(BaseModel):
    """The text fields of an onboarding."""

    model_config = ConfigDict(extra="forbid")

    category: CategoryName
    refuse: Annotated[tuple[FindingKind, ...] | None, BeforeValidator(_listed)] = Field(
        None,
        description="Findings for which an image is refused, comma separated, or `none`; the category's setting if "
        f"left out. Findings: {', '.join(FINDING_KINDS)}.",
        json_schema_extra={"type": "string"},
    )
    bit_depth: BitDepthField = Field(
        None,
        description="Number of bits used in 16-bit channels; default: the category's setting, or inferred from the "
        "first such "
        "files.",
    )
    cells: Annotated[int | None, Field(ge=1, le=65_536)] = Field(
        None, description="For a new category: inspect the whole image, on a grid of at most this many cells."
    )
    smallest_defect: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = Field(
        None,
        description="For a new category: inspect the whole image, with cells twice as long as a defect of this many "
        "pixels.",
    )
    millimetres_per_pixel: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = Field(
        None, description="Size of a pixel; `smallest_defect` is then in millimetres."
    )
    on_mismatch: OnMismatch | None = Field(
        None, description="For a new category: how images with another aspect ratio are treated."
    )


@router.post(
    "",
    openapi_extra=documented_upload(_Options),
    responses=documented_problems(
        "image-rejected",
        "image-too-large",
        "unsupported-format",
        "request-too-large",
        "storage-full",
        "not-ready",
        "queue-full",
    ),
)
async def add_references(
    request: Request, state: Annotated[AppState, Depends(app_state)], admitted: OnboardingLease
) -> ReferencesResponse:
    """Add images of good parts as references of a category, which is created if it does not exist.

    A new category inspects the whole image, in the aspect ratio of its first images; `smallest_defect` or `cells` set
    the resolution. An existing category keeps its geometry: see `PATCH /categories/{name}`.

    All accepted images become references in one transaction, durably, before the response. Unusable images are rejected
    one by one. Each image is screened: `findings` lists the results, and the image is added nevertheless, unless
    `refuse` names the finding. Idempotent.
    """
    upload, options = await read_upload(request, _Options, state.settings.max_images)
    admitted.add(len(upload.files) - 1)
    choice = GeometryChoice(
        cells=options.cells,
        smallest_defect=options.smallest_defect,
        millimetres_per_pixel=options.millimetres_per_pixel,
        on_mismatch=options.on_mismatch,
    )
    onboarded = await onboard.onboard(state, upload, options.category, options.refuse, options.bit_depth, choice)
    results = [_result(file, image) for file, image in zip(upload.files, onboarded.images, strict=True)]
    counts = [result.status for result in results]
    for status in counts:
        state.metrics.onboarded(status)
    return ReferencesResponse(
        category=options.category,
        version=onboarded.version,
        results=tuple(results),
        added=counts.count("added"),
        duplicates=counts.count("duplicate"),
        rejected=counts.count("rejected"),
        images_until_outlier_check=onboarded.images_until_outlier_check,
        calibration=calibration_view(state, options.category, onboarded.settings),
    )


@router.get("", responses=documented_problems())
async def references(
    state: Annotated[AppState, Depends(app_state)],
    category: Annotated[CategoryName | None, Query()] = None,
    cursor: PageCursor = None,
    limit: PageLimit = PAGE_LIMIT,
    removed: Annotated[bool, Query(description="Removed references instead, which `restore` can restore.")] = False,
    from_feedback: Annotated[bool, Query(description="Only references added by feedback.")] = False,
    order: Annotated[
        ReferenceOrder,
        Query(
            description="By id, ascending or descending; by file name; or by leave-one-out score, the highest first, "
            "which needs a category."
        ),
    ] = "oldest",
    text: Annotated[Text | None, Query(description="Substring of the file name, or the id.")] = None,
) -> ReferencePage:
    """Live references, of one category or of all. A cursor continues the order and the choice that it came with."""
    if order == "outliers" and category is None:
        raise ProblemError(
            "invalid-request", "order: outliers needs a category, since scores of several cannot be compared."
        )
    page = await asyncio.to_thread(
        state.reference_store.catalogue.references.page,
        category,
        cursor,
        limit,
        removed=removed,
        from_feedback=from_feedback,
        order=order,
        text=text,
        scores={} if category is None else _scores(state, category),
    )
    return ReferencePage(references=tuple(_view(state, item) for item in page.items), next_cursor=page.next_cursor)


@router.post("/remove", responses=documented_problems())
async def remove_references(body: ReferencesToRemove, state: Annotated[AppState, Depends(app_state)]) -> RemovedMany:
    """Remove several references in one transaction, with one new index version. Idempotent.

    Ids of no reference are listed in `unknown` and do not prevent the others from being removed.
    """
    existing = await asyncio.to_thread(state.reference_store.catalogue.references.existing, body.reference_ids)
    version = await asyncio.to_thread(state.reference_store.remove, existing)
    requested = dict.fromkeys(body.reference_ids)
    return RemovedMany(
        version=version,
        removed=tuple(reference_id for reference_id in requested if reference_id in existing),
        unknown=tuple(reference_id for reference_id in requested if reference_id not in existing),
    )


@router.get("/{reference_id:int}", responses=documented_problems("not-found"))
async def reference(reference_id: _Id, state: Annotated[AppState, Depends(app_state)]) -> ReferenceView:
    """One reference, live or removed."""
    return _view(state, await asyncio.to_thread(state.reference_store.catalogue.references.get, reference_id))


@router.get(
    "/{reference_id:int}/image", response_class=Response, responses=documented_problems("not-found", "queue-full")
)
async def image(
    reference_id: _Id, state: Annotated[AppState, Depends(app_state)], lease: StoredBytesLease, side: Side = None
) -> Response:
    """The image as uploaded, or scaled down."""
    reference = await asyncio.to_thread(state.reference_store.catalogue.references.get, reference_id)
    data = await read_stored_image(state, reference.image_sha256, reference.image_suffix, lease)
    return await image_response(
        state.thread_pools.files, data, reference.image_suffix, side, state.settings.image_limits
    )


@router.post(
    "/{reference_id:int}/restore", responses=documented_problems("not-found", "storage-full", "not-ready", "queue-full")
)
async def restore_reference(
    reference_id: _Id, state: Annotated[AppState, Depends(app_state)], _admitted: OnboardingLease
) -> ReferenceView:
    """Restore a removed reference; the response is the live reference, with a new id.

    Possible for 30 days, while its image is stored. Restoring a live reference changes nothing.
    """
    catalogue = state.reference_store.catalogue
    reference = await asyncio.to_thread(catalogue.references.get, reference_id)
    if reference.removed_at is None:
        return _view(state, reference)
    [outcome] = await onboard.restore(state, reference.category, [reference])
    if isinstance(outcome, Exception):
        raise outcome
    return _view(state, await asyncio.to_thread(catalogue.references.get, outcome.reference_id))


@router.delete("/{reference_id:int}", responses=documented_problems("not-found"))
async def remove_reference(reference_id: _Id, state: Annotated[AppState, Depends(app_state)]) -> Removed:
    """Remove a reference. Idempotent."""
    await asyncio.to_thread(state.reference_store.catalogue.references.get, reference_id)
    return Removed(version=await asyncio.to_thread(state.reference_store.remove, [reference_id]))


def _result(file: ImageFile, image: onboard.OnboardedImage) -> ReferenceResult:
    findings = tuple(FindingView(**asdict(finding)) for finding in image.findings)
    notices = tuple(NoticeView(**asdict(notice)) for notice in image.notices)
    outcome = image.outcome
    if isinstance(outcome, AddOutcome):
        return ReferenceResult(**asdict(outcome), findings=findings, notices=notices)
    return ReferenceResult(
        filename=file.name,
        status="rejected",
        reason=outcome.reason if isinstance(outcome, ImageRejected) else outcome.kind,
        detail=outcome.detail,
        findings=findings,
        notices=notices,
    )


def _scores(state: AppState, category: str) -> Mapping[int, float]:
    """The leave-one-out scores of a category's references by id; empty until it is calibrated."""
    calibration = state.calibrations.of(category)
    return {} if calibration is None else calibration.reference_scores


def _view(state: AppState, reference: Reference) -> ReferenceView:
    encoding = encoding_view(reference.encoding, reference.reading)
    score = None if reference.removed_at else _scores(state, reference.category).get(reference.id)
    facts = {**asdict(reference), "sha256": reference.image_sha256, "encoding": encoding, "score": score}
    return ReferenceView.model_validate(facts)
