"""Labelled images as a data set that `touchstone evaluate` reads: of the history, or of a category's test set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import cast

from indexer.domain.errors import OriginalUnreadable
from indexer.domain.inspection import Inspection, InspectionFilter, Label
from indexer.domain.labelled_set import LabelledImage
from indexer.evaluation.archive import ArchivedImage, DatasetArchive, ImageBytes
from indexer.evaluation.region_mask import region_mask
from indexer.references.reference_store import ReferenceStore
from service.errors import Conflict

_UNREADABLE = "Its stored image is missing or damaged."


def inspections_dataset(reference_store: ReferenceStore, matching: InspectionFilter) -> Iterator[bytes]:
    """A ZIP archive of the matching inspections that are labelled, and the references of their categories.

    An image that is labelled good is a test image here, and no reference, though the label made it one. Masks are drawn
    from the regions that were found. Conflict when no inspection is labelled.
    """
    labels: tuple[Label, ...] = ("defect", "good") if matching.label is None else (matching.label,)
    labelled = chain.from_iterable(
        reference_store.catalogue.inspections.iterate(replace(matching, label=label)) for label in labels
    )
    first = next(labelled, None)
    if first is None:
        raise Conflict("No matching inspection is labelled: confirm defects, or mark parts as good, first.")
    with DatasetArchive.begin() as archive:
        tested: dict[str, set[str]] = {}  # by category with references: the images that are in `test`
        for inspection in chain([first], labelled):
            _add_inspection(reference_store, archive, inspection, tested)
            yield archive.take()
        for category, digests in tested.items():
            yield from _references(reference_store, archive, category, digests)
        yield from archive.finish()


def test_set_dataset(reference_store: ReferenceStore, category: str) -> Iterator[bytes]:
    """A ZIP archive of a category's test set and its references. Conflict when either is empty. CategoryNotFound."""
    images = reference_store.catalogue.labelled_sets.images(category)
    if not images:
        raise Conflict(f"The test set of {category!r} is empty.")
    if not _has_references(reference_store, category):
        raise Conflict(f"{category!r} has no references.")
    with DatasetArchive.begin() as archive:
        for image in images:
            _add_test_image(reference_store, archive, image)
            yield archive.take()
        yield from _references(reference_store, archive, category, {image.image_sha256 for image in images})
        yield from archive.finish()


def _add_inspection(
    reference_store: ReferenceStore, archive: DatasetArchive, inspection: Inspection, tested: dict[str, set[str]]
) -> None:
    category, digest, suffix = inspection.category, inspection.image_sha256, inspection.image_suffix
    image = ArchivedImage(
        "inspection",
        inspection.id,
        category or "",
        inspection.filename,
        inspection.at,
        inspection.label == "defect",
        inspection.defect_class,
        inspection.comment,
    )
    if category is None or (category not in tested and not _has_references(reference_store, category)):
        archive.leave_out(image, "Its category has no references.")
        return
    if inspection.stored_bytes is None or digest is None or suffix is None:
        archive.leave_out(image, "Its image was pruned.")
        return
    file = _read(reference_store, digest, suffix)
    if file is None:
        archive.leave_out(image, _UNREADABLE)
        return
    tested.setdefault(category, set()).add(digest)
    polygons = [cast(Sequence[tuple[float, float]], region["polygon"]) for region in inspection.regions]
    size = inspection.width, inspection.height
    mask = ImageBytes(region_mask(polygons, size), ".png") if polygons and image.defective else None
    archive.add_sample(image, file, mask)


def _add_test_image(reference_store: ReferenceStore, archive: DatasetArchive, labelled: LabelledImage) -> None:
    image = ArchivedImage(
        "test image", str(labelled.id), labelled.category, labelled.filename, labelled.added_at, labelled.defective
    )
    file = _read(reference_store, labelled.image_sha256, labelled.image_suffix)
    if file is None:
        archive.leave_out(image, _UNREADABLE)
        return
    mask = None
    if labelled.defective and labelled.mask_sha256 is not None and labelled.mask_suffix is not None:
        mask = _read(reference_store, labelled.mask_sha256, labelled.mask_suffix)
    archive.add_sample(image, file, mask)


def _references(
    reference_store: ReferenceStore, archive: DatasetArchive, category: str, tested: Collection[str]
) -> Iterator[bytes]:
    """Add the references of a category, but those whose image is in `test`."""
    for reference in reference_store.catalogue.references.iterate(category):
        image = ArchivedImage("reference", str(reference.id), category, reference.filename, reference.added_at)
        if reference.image_sha256 in tested:
            archive.leave_out(image, "It is a test image.")
        elif (file := _read(reference_store, reference.image_sha256, reference.image_suffix)) is None:
            archive.leave_out(image, _UNREADABLE)
        else:
            archive.add_reference(image, file)
        yield archive.take()


def _has_references(reference_store: ReferenceStore, category: str) -> bool:
    return bool(reference_store.catalogue.references.page(category, None, 1).items)


def _read(reference_store: ReferenceStore, sha256: str, suffix: str) -> ImageBytes | None:
    """A stored image; None when it is missing or damaged, or the disk cannot read it."""
    try:
        return ImageBytes(reference_store.read_original(sha256, suffix), suffix)
    except (OriginalUnreadable, OSError):
        return None
