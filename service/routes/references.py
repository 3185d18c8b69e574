"""`/references`: add, list, show, remove, restore."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from indexer.domain.finding import FINDING_KINDS, FindingKind
from indexer.domain.geometry import OnMismatch
from indexer.domain.geometry_choice import GeometryChoice
from indexer.domain.reference import Reference
from indexer.imaging.decode import ImageRejected
from indexer.references.reference_store import AddOutcome
from service.http.image_response import Side, image_response
from service.http.problems import documented_problems
from service.http.uploads import documented_upload, read_upload
from service.inference.decoder import ImageFile
from service.routes.calibration_view import calibration_view
from service.routes.dependencies import OnboardingLease, StoredBytesLease, app_state
from service.schemas.categories import BitDepthField
from service.schemas.encoding import NoticeView, encoding_view
from service.schemas.references import (
    FindingView,
    ReferencePage,
    ReferenceResult,
    ReferencesResponse,
    ReferenceView,
    Removed,
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
        description="Bits that the camera puts into files of 16 a channel; else as the category has it, or as the "
        "first such files tell.",
    )
    cells: Annotated[int | None, Field(ge=1, le=65_536)] = Field(
        None, description="Of a new category: the whole image on a grid of at most so many cells."
    )
    smallest_defect: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = Field(
        None, description="Of a new category: as fine as it takes to find a defect of so many pixels."
    )
    millimetres_per_pixel: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = Field(
        None, description="How large a pixel is, for a `smallest_defect` in millimetres."
    )
    on_mismatch: OnMismatch | None = Field(
        None, description="Of a new category: what is done with images of other proportions."
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
async def add(
    request: Request, state: Annotated[AppState, Depends(app_state)], admitted: OnboardingLease
) -> ReferencesResponse:
    """Make images of good parts references of a category, which is created if it is new.

    A new category is inspected as a whole, in the proportions of its first images; `smallest_defect` or `cells` say how
    fine. One that there is keeps what it has: see `PATCH /categories/{name}`.

    All accepted images become references together, durably, before the answer. Images that cannot be used are
    refused one by one. Each is screened: what was found is told in `findings`, and it is kept all the same unless
    `refuse` says otherwise. Sending the same images again changes nothing.
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
    cursor: Annotated[Text | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    removed: Annotated[bool, Query(description="Those taken back instead, which `restore` can bring back.")] = False,
    from_feedback: Annotated[bool, Query(description="Only those that feedback made.")] = False,
) -> ReferencePage:
    """Live references in order of id, of one category or of all."""
    found = state.library.catalogue.references.page
    page = await asyncio.to_thread(found, category, cursor, limit, removed=removed, from_feedback=from_feedback)
    return ReferencePage(references=tuple(_view(item) for item in page.items), next_cursor=page.next_cursor)


@router.get("/{reference_id}", responses=documented_problems("not-found"))
async def reference(reference_id: _Id, state: Annotated[AppState, Depends(app_state)]) -> ReferenceView:
    """One reference, also when it has been taken back."""
    return _view(await asyncio.to_thread(state.library.catalogue.references.get, reference_id))


@router.get("/{reference_id}/image", response_class=Response, responses=documented_problems("not-found", "queue-full"))
async def image(
    reference_id: _Id, state: Annotated[AppState, Depends(app_state)], lease: StoredBytesLease, side: Side = None
) -> Response:
    """The image as it was sent, or smaller."""
    reference = await asyncio.to_thread(state.library.catalogue.references.get, reference_id)
    data = await read_stored_image(state, reference.image_sha256, reference.image_suffix, lease)
    return await image_response(
        state.thread_pools.files, data, reference.image_suffix, side, state.settings.image_limits
    )


@router.post(
    "/{reference_id}/restore", responses=documented_problems("not-found", "storage-full", "not-ready", "queue-full")
)
async def restore(
    reference_id: _Id, state: Annotated[AppState, Depends(app_state)], _admitted: OnboardingLease
) -> ReferenceView:
    """Make a reference that was taken back one again; the answer is the live one, with an id of its own.

    Possible while its image is kept, 30 days. Restoring one that is live changes nothing.
    """
    catalogue = state.library.catalogue
    reference = await asyncio.to_thread(catalogue.references.get, reference_id)
    if reference.removed_at is None:
        return _view(reference)
    [outcome] = await onboard.restore(state, reference.category, [reference])
    if isinstance(outcome, Exception):
        raise outcome
    return _view(await asyncio.to_thread(catalogue.references.get, outcome.reference_id))


@router.delete("/{reference_id}", responses=documented_problems("not-found"))
async def remove(reference_id: _Id, state: Annotated[AppState, Depends(app_state)]) -> Removed:
    """Take a reference back. Taking it back again changes nothing."""
    await asyncio.to_thread(state.library.catalogue.references.get, reference_id)
    return Removed(version=await asyncio.to_thread(state.library.remove, [reference_id]))


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


def _view(reference: Reference) -> ReferenceView:
    encoding = encoding_view(reference.encoding, reference.reading)
    return ReferenceView.model_validate({**asdict(reference), "sha256": reference.image_sha256, "encoding": encoding})
