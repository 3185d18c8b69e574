"""`/categories/{name}/test-images` and `/evaluations`: what a category lets escape, measured on labelled images."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

from indexer.domain.labelled_set import LabelledImage
from indexer.imaging.decode import ImageRejected
from indexer.imaging.encode import detect_suffix
from service.http.image_response import Side, image_response
from service.http.problem_types import documented_problems
from service.http.problems import to_problem
from service.http.uploads import NoFields, documented_upload, read_upload
from service.routes.dependencies import OnboardingLease, RestoredUntil, RestoreLimit, StoredBytesLease, app_state
from service.schemas.categories import LostReference, settings_json
from service.schemas.labelled_sets import (
    ChangesSinceView,
    EvaluatedImageView,
    EvaluationDetail,
    EvaluationsResponse,
    EvaluationView,
    LabelledImageResult,
    LabelledImagesAdded,
    LabelledImagesResponse,
    LabelledImageView,
    RecallChangeView,
    RecallSummaryView,
    RocPoint,
    RolledBackView,
)
from service.schemas.text import CategoryName
from service.state import AppState
from service.usecases.labelled_sets import (
    AddedImage,
    EvaluatedSet,
    add_labelled_images,
    evaluated_set,
    evaluated_sets,
    roc_points,
    set_labelled_mask,
)
from service.usecases.rollback import changes_since, roll_back
from service.usecases.stored_images import read_stored_image

router = APIRouter(prefix="/categories", tags=["test sets"])

Name = Annotated[CategoryName, Path()]
Id = Annotated[int, Path(ge=0, lt=2**63)]


def _truth(text: object) -> object:
    """The truth value of a form's text; no other words for it than JSON has."""
    return {"true": True, "false": False}.get(text, text) if isinstance(text, str) else text


class _Options(BaseModel):
    """The text fields of an upload."""

    model_config = ConfigDict(extra="forbid")

    defective: Annotated[bool, Strict(), BeforeValidator(_truth)] = Field(
        description="Whether the parts are defective; all images of one request are of one kind."
    )


@router.get("/{name}/test-images", responses=documented_problems("not-found"))
async def labelled_images(name: Name, state: Annotated[AppState, Depends(app_state)]) -> LabelledImagesResponse:
    """The images that a category is measured on."""
    images = await asyncio.to_thread(state.reference_store.catalogue.labelled_sets.images, name)
    return LabelledImagesResponse(images=tuple(map(_image_view, images)))


@router.post(
    "/{name}/test-images",
    openapi_extra=documented_upload(_Options),
    responses=documented_problems("not-found", "request-too-large", "storage-full", "queue-full"),
)
async def add(
    name: Name, request: Request, state: Annotated[AppState, Depends(app_state)], admitted: OnboardingLease
) -> LabelledImagesAdded:
    """Put labelled images, of good or of defective parts, into a category's test set, and have it evaluated.

    They are kept until they are taken out, whatever the history's limits. An image sent again with the other label gets
    that. One that is a reference is refused, since its score says nothing.
    """
    upload, options = await read_upload(request, _Options, state.settings.max_images)
    admitted.add(len(upload.files) - 1)
    outcomes = await add_labelled_images(state, name, upload, defective=options.defective)
    results = []
    for file, outcome in zip(upload.files, outcomes, strict=True):
        if isinstance(outcome, AddedImage):
            status: Literal["added", "duplicate"] = "added" if outcome.new else "duplicate"
            results.append(LabelledImageResult(filename=file.name, status=status, id=outcome.id))
        else:
            reason = outcome.reason if isinstance(outcome, ImageRejected) else "reference"
            detail = outcome.detail if isinstance(outcome, ImageRejected) else str(outcome)
            results.append(LabelledImageResult(filename=file.name, status="rejected", reason=reason, detail=detail))
    state.background.evaluations.soon()
    return LabelledImagesAdded(results=tuple(results))


@router.put(
    "/{name}/test-images/{image_id}/mask",
    openapi_extra=documented_upload(NoFields),
    responses=documented_problems(
        "not-found", "image-rejected", "image-too-large", "unsupported-format", "request-too-large", "storage-full"
    ),
)
async def mask(
    name: Name,
    image_id: Id,
    request: Request,
    state: Annotated[AppState, Depends(app_state)],
    _admitted: OnboardingLease,
) -> LabelledImageView:
    """Say where the defect of an image is: a mask that is not black there. Its size does not matter."""
    upload, _ = await read_upload(request, NoFields, 1)
    [file] = upload.files
    await state.onboarding_decoder.read(file)
    labelled_image = await set_labelled_mask(state, name, image_id, file.data, detect_suffix(file.data))
    state.background.evaluations.soon()
    return _image_view(labelled_image)


@router.delete("/{name}/test-images/{image_id}", responses=documented_problems("not-found"))
async def remove(name: Name, image_id: Id, state: Annotated[AppState, Depends(app_state)]) -> LabelledImagesResponse:
    """Take an image out of a test set; the answer is what is left. Evaluations that it was in keep their results."""
    await asyncio.to_thread(state.reference_store.catalogue.labelled_sets.remove, name, image_id)
    state.background.evaluations.soon()
    return await labelled_images(name, state)


@router.get(
    "/{name}/test-images/{image_id}/image",
    response_class=Response,
    responses=documented_problems("not-found", "queue-full"),
)
async def image(
    name: Name,
    image_id: Id,
    state: Annotated[AppState, Depends(app_state)],
    lease: StoredBytesLease,
    side: Side = None,
) -> Response:
    """The image as it was sent, or smaller."""
    labelled_image = await asyncio.to_thread(state.reference_store.catalogue.labelled_sets.image, name, image_id)
    data = await read_stored_image(state, labelled_image.image_sha256, labelled_image.image_suffix, lease)
    return await image_response(
        state.thread_pools.files, data, labelled_image.image_suffix, side, state.settings.image_limits
    )


@router.get("/{name}/evaluations", responses=documented_problems("not-found"))
async def evaluations(name: Name, state: Annotated[AppState, Depends(app_state)]) -> EvaluationsResponse:
    """How the test set went, newest first, each against the one before; the latest twenty are kept.

    One begins by itself when images, references, settings or the encoder have changed and the category is calibrated.
    It goes on where it was after a restart.
    """
    evaluated = await asyncio.to_thread(evaluated_sets, state.reference_store.catalogue, name)
    return EvaluationsResponse(evaluations=tuple(map(_evaluation_view, evaluated)))


@router.get("/{name}/evaluations/{evaluation_id}", responses=documented_problems("not-found"))
async def evaluation(name: Name, evaluation_id: Id, state: Annotated[AppState, Depends(app_state)]) -> EvaluationDetail:
    """One evaluation with what was detected in every image."""
    catalogue = state.reference_store.catalogue
    evaluated, results = await asyncio.to_thread(evaluated_set, catalogue, name, evaluation_id)
    return EvaluationDetail(
        evaluation=_evaluation_view(evaluated),
        results=tuple(
            EvaluatedImageView(
                image=_image_view(labelled),
                **{key: value for key, value in asdict(result).items() if key != "image_id"},
            )
            for labelled, result in results
        ),
        roc=tuple(
            RocPoint(threshold=threshold, false_rejects=good, recall=bad)
            for threshold, good, bad in roc_points(results)
        ),
    )


@router.get("/{name}/evaluations/{evaluation_id}/changes", responses=documented_problems("not-found"))
async def changes(name: Name, evaluation_id: Id, state: Annotated[AppState, Depends(app_state)]) -> ChangesSinceView:
    """What has changed in the category since an evaluation: settings, references, encoder, geometry."""
    since = await asyncio.to_thread(changes_since, state.reference_store.catalogue, name, evaluation_id)
    return ChangesSinceView(
        then=settings_json(since.then),
        now=settings_json(since.now),
        added=since.added,
        removed=tuple(reference.id for reference in since.removed),
        encoder_changed=since.encoder,
        geometry_changed=since.geometry,
    )


@router.post(
    "/{name}/evaluations/{evaluation_id}/roll-back",
    responses=documented_problems("not-found", "storage-full", "not-ready", "queue-full"),
)
async def roll_back_to(
    name: Name,
    evaluation_id: Id,
    state: Annotated[AppState, Depends(app_state)],
    admitted: OnboardingLease,
    after: RestoredUntil,
    limit: RestoreLimit = 16,
) -> RolledBackView:
    """Give a category the settings and references again that an evaluation of its test set was made with.

    References that were removed since are restored, at most `limit` with each request: repeat it with `next_cursor`
    until that is null. The last one removes those that were added since, and sets the settings. A reference whose image
    is lost does not prevent the others from being restored. Encoder and geometry stay as they are, and so does how
    files of 16 bits a channel are read. Idempotent.
    """
    admitted.add(limit - 1)
    done = await roll_back(state, name, evaluation_id, after, limit)
    lost = [
        LostReference(reference_id=reference.id, filename=reference.filename, detail=to_problem(outcome).detail)
        for reference, outcome in done.restored
        if isinstance(outcome, Exception)
    ]
    return RolledBackView(
        settings=done.settings,
        removed=done.removed,
        restored=len(done.restored) - len(lost),
        lost=tuple(lost),
        next_cursor=None if done.next_cursor is None else str(done.next_cursor),
    )


def _image_view(labelled_image: LabelledImage) -> LabelledImageView:
    return LabelledImageView(
        id=labelled_image.id,
        filename=labelled_image.filename,
        defective=labelled_image.defective,
        width=labelled_image.width,
        height=labelled_image.height,
        added_at=labelled_image.added_at,
        mask=labelled_image.mask_sha256 is not None,
    )


def _evaluation_view(evaluated: EvaluatedSet) -> EvaluationView:
    one = evaluated.evaluation
    return EvaluationView(
        id=one.id,
        version=one.version,
        started_at=one.started_at,
        finished_at=one.finished_at,
        images=one.images,
        done=one.done,
        settings=settings_json(one.settings),
        summary=RecallSummaryView(**asdict(evaluated.summary)),
        change=None if evaluated.change is None else RecallChangeView(**asdict(evaluated.change)),
    )
