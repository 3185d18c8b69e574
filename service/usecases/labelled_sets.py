"""Keeps images of a labelled test set, and reads how its evaluations went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.labelled_sets import EvaluationWithOutcomes, ImageResult, NewLabelledImage
from indexer.domain.labelled_set import (
    Evaluation,
    LabelledImage,
    LabelledOutcome,
    RecallChange,
    RecallSummary,
    compare,
    summarise,
)
from indexer.imaging.decode import ImageRejected
from service.errors import Conflict
from service.inference.decoder import DecodedImage, Upload
from service.inference.image_reading import reading_of_parts
from service.state import AppState


@dataclass(frozen=True)
class AddedImage:
    """An image of a test set. new: it was not in it, or with the other label."""

    id: int
    new: bool


@dataclass(frozen=True)
class EvaluatedSet:
    """An evaluation, and how it went, also against the one before."""

    evaluation: Evaluation
    summary: RecallSummary
    change: RecallChange | None

    @classmethod
    def against(cls, evaluated: EvaluationWithOutcomes, before: Sequence[LabelledOutcome] | None) -> EvaluatedSet:
        """How an evaluation went. before: outcomes of the one before, if any."""
        change = None if before is None else compare(before, evaluated.outcomes)
        return cls(evaluated.evaluation, summarise(evaluated.outcomes), change)


async def add_labelled_images(
    state: AppState, category: str, upload: Upload, *, defective: bool
) -> list[AddedImage | ImageRejected | Conflict]:
    """Keep uploaded images in a category's test set; what became of each, in order.

    A reference cannot be one: its score says nothing. CategoryNotFound, StorageFull.
    """
    await asyncio.to_thread(state.reference_store.catalogue.categories.get, category)
    published = state.reference_store.published
    reading = reading_of_parts(published, category, None)
    decoded = await state.onboarding_decoder.decode(upload, state.reference_store.geometry_of(category), reading)
    digests = [image.original.sha256 for image in decoded if isinstance(image, DecodedImage)]
    references = await asyncio.to_thread(state.reference_store.find_existing, category, digests)
    outcomes: dict[int, AddedImage | ImageRejected | Conflict] = {}
    usable: dict[int, DecodedImage] = {}
    for index, image in enumerate(decoded):
        if isinstance(image, ImageRejected):
            outcomes[index] = image
        elif image.original.sha256 in references:
            outcomes[index] = Conflict("It is a reference: take other images than those that are compared with.")
        else:
            usable[index] = image
    added = await asyncio.to_thread(_store, state, category, list(usable.values()), defective=defective)
    outcomes |= dict(zip(usable, added, strict=True))
    return [outcomes[index] for index in range(len(decoded))]


def _store(state: AppState, category: str, images: Sequence[DecodedImage], *, defective: bool) -> list[AddedImage]:
    new = []
    with state.reference_store.files.shared():
        for image in images:
            original = image.original
            digest = state.reference_store.store_image(original.data, original.suffix)
            new.append(NewLabelledImage(original.filename, digest, original.suffix, original.width, original.height))
        added = state.reference_store.catalogue.labelled_sets.add(category, new, defective=defective)
    return [AddedImage(image_id, is_new) for image_id, is_new in added]


async def set_labelled_mask(state: AppState, category: str, image_id: int, data: bytes, suffix: str) -> LabelledImage:
    """Keep where an image's defect is. CategoryNotFound, LabelledImageNotFound, StorageFull."""

    def store() -> LabelledImage:
        with state.reference_store.files.shared():
            digest = state.reference_store.store_image(data, suffix)
            return state.reference_store.catalogue.labelled_sets.set_mask(category, image_id, digest, suffix)

    return await asyncio.to_thread(store)


def evaluated_sets(catalogue: Catalogue, category: str) -> list[EvaluatedSet]:
    """Every evaluation of a category's test set, newest first. CategoryNotFound."""
    listed = catalogue.labelled_sets.evaluations(category)
    before = [*(evaluated.outcomes for evaluated in listed[1:]), None]
    return [EvaluatedSet.against(evaluated, earlier) for evaluated, earlier in zip(listed, before, strict=False)]


def evaluated_set(
    catalogue: Catalogue, category: str, evaluation_id: int
) -> tuple[EvaluatedSet, tuple[ImageResult, ...]]:
    """One evaluation of a category's test set, and what was detected in each image at the same moment.

    CategoryNotFound, EvaluationNotFound.
    """
    full = catalogue.labelled_sets.evaluation_in_full(category, evaluation_id)
    return EvaluatedSet.against(full.evaluated, full.before), full.results


def roc_points(results: Sequence[ImageResult]) -> list[tuple[float, float, float]]:
    """Threshold, share of good and of defective images above it, at each distinct score from the highest down.

    Empty unless there are both kinds.
    """
    scored = [(result.score, image.defective) for image, result in results if result.score is not None]
    bad, good = sum(truth for _, truth in scored), sum(not truth for _, truth in scored)
    if not bad or not good:
        return []
    points: list[tuple[float, float, float]] = []
    above = [0, 0]  # good, defective
    for threshold, alike in groupby(sorted(scored, reverse=True), key=lambda pair: pair[0]):
        points.append((threshold, above[0] / good, above[1] / bad))
        for _, truth in alike:
            above[truth] += 1
    return points
