"""`/references`: teach the product what good parts look like, look at that, and take it back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from indexer.catalogue import CategorySettings, Reference
from indexer.images import ImageRefused
from indexer.library import Added
from indexer.memory import EncodedReferences
from service.owner import Turn
from service.problems import documented, from_refusal
from service.runtime import Runtime, runtime
from service.schemas import CategoryName, ReferencePage, ReferenceResult, ReferencesAnswer, ReferenceView, Removed
from service.uploads import MEDIA_TYPES, Picture, documented_upload, read_upload

router = APIRouter(prefix="/references", tags=["references"])


class _Options(BaseModel):
    """The text fields of an onboarding."""

    model_config = ConfigDict(extra="forbid")

    category: CategoryName


@router.post(
    "",
    openapi_extra=documented_upload(_Options),
    responses=documented(
        "image-refused", "image-too-large", "unsupported-format", "request-too-large", "storage-full", "not-ready"
    ),
)
async def add(request: Request, running: Annotated[Runtime, Depends(runtime)]) -> ReferencesAnswer:
    """Make pictures of good parts references of a category, which is created if it is new.

    All accepted pictures become references together, durably, before the answer. Pictures that cannot be used are
    refused one by one; sending the same pictures again changes nothing.
    """
    upload, options = await read_upload(request, _Options, running.settings.max_images)
    decoded = await running.decoder.decode(upload)
    pictures = [each for each in decoded if isinstance(each, Picture)]
    if not pictures:
        refused = [each for each in decoded if isinstance(each, ImageRefused)]
        raise from_refusal(refused[0])
    added = await onboard(running, options.category, pictures)
    outcomes = iter(added.outcomes)
    results = []
    for file, each in zip(upload.files, decoded, strict=True):
        if isinstance(each, ImageRefused):
            refusal = ReferenceResult(filename=file.name, status="refused", reason=each.reason, detail=each.detail)
            results.append(refusal)
        else:
            results.append(ReferenceResult(**asdict(next(outcomes))))
    counts = [result.status for result in results]
    for status in counts:
        running.metrics.onboarded(status)
    settings = (await asyncio.to_thread(running.category_settings)).get(options.category, CategorySettings())
    return ReferencesAnswer(
        category=options.category, version=added.version, results=tuple(results), added=counts.count("added"),
        duplicates=counts.count("duplicate"), refused=counts.count("refused"),
        calibration=running.calibration_view(options.category, settings),
    )  # fmt: skip


async def onboard(running: Runtime, category: str, pictures: Sequence[Picture]) -> Added:
    """Encode pictures behind all detections and commit them together. Pictures known already are not encoded again."""
    codec = running.library.memory.codec
    digests = [picture.original.sha256 for picture in pictures]
    known = await asyncio.to_thread(running.library.known, category, digests)

    def encode(turn: Turn) -> EncodedReferences:
        return codec.encode(turn.features)

    fresh = {picture.original.sha256: picture for picture in pictures if picture.original.sha256 not in known}
    futures = [running.owner.onboard(picture.prepared, encode) for picture in fresh.values()]
    encoded = await asyncio.gather(*map(asyncio.wrap_future, futures))
    originals = [picture.original for picture in pictures]
    return await asyncio.to_thread(running.library.add, category, originals, dict(zip(fresh, encoded, strict=True)))


@router.get("", responses=documented())
async def references(
    running: Annotated[Runtime, Depends(runtime)],
    category: Annotated[CategoryName | None, Query()] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ReferencePage:
    """Live references in order of id, of one category or of all."""
    page = await asyncio.to_thread(running.library.catalogue.references, category, cursor, limit)
    return ReferencePage(references=tuple(_view(each) for each in page.items), next_cursor=page.next_cursor)


@router.get("/{reference_id}", responses=documented("not-found"))
async def reference(reference_id: int, running: Annotated[Runtime, Depends(runtime)]) -> ReferenceView:
    """One reference, also when it has been taken back."""
    return _view(await asyncio.to_thread(running.library.catalogue.reference, reference_id))


@router.get("/{reference_id}/image", response_class=Response, responses=documented("not-found"))
async def image(reference_id: int, running: Annotated[Runtime, Depends(runtime)]) -> Response:
    """The picture as it was sent."""
    found = await asyncio.to_thread(running.library.catalogue.reference, reference_id)
    data = await asyncio.to_thread(running.library.read_original, found.image_sha256, found.image_suffix)
    return Response(data, media_type=MEDIA_TYPES[found.image_suffix])


@router.delete("/{reference_id}", responses=documented("not-found"))
async def remove(reference_id: int, running: Annotated[Runtime, Depends(runtime)]) -> Removed:
    """Take a reference back. Taking it back again changes nothing."""
    await asyncio.to_thread(running.library.catalogue.reference, reference_id)
    return Removed(version=await asyncio.to_thread(running.library.remove, [reference_id]))


def _view(found: Reference) -> ReferenceView:
    return ReferenceView.model_validate({**asdict(found), "sha256": found.image_sha256})
