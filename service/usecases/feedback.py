"""Labels inspections: a good one becomes a reference, or waits for review or confirmation; a defect has a class."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from indexer.calibration.calibration import with_calibrated_weights
from indexer.detection.decision import decide
from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound, MemoryInactive
from indexer.domain.inspection import DefectDetails, Inspection
from indexer.domain.reading import Reading
from indexer.imaging.decode import ImageRejected
from indexer.memory import EncodedReferences
from indexer.screening.effect import Effect, Reason, estimate_effect
from indexer.screening.outliers import MIN_IMAGES, ScreeningResult
from indexer.screening.screening import Screening
from service.auth.roles import Role
from service.errors import ConfirmationForbidden, ConfirmationNeeded, Conflict
from service.inference.decoder import ImageFile, Upload
from service.inference.in_flight import Lease
from service.state import AppState
from service.usecases.onboard import encode_image, with_appearance
from service.usecases.stored_images import read_stored_image


async def confirm_defect(state: AppState, inspection_id: str, details: DefectDetails) -> Inspection:
    """Label an inspection as a defect, with what else is said of it. Conflict for a class that its category lacks."""
    if (defect_class := details.get("defect_class")) is not None:
        inspection = await asyncio.to_thread(state.reference_store.catalogue.inspections.get, inspection_id)
        classes = await asyncio.to_thread(_defect_classes, state, inspection.category)
        if defect_class not in (*classes, inspection.defect_class):
            listed = f"choose one of {', '.join(classes)}, or add it" if classes else "add it"
            raise Conflict(
                f"{defect_class!r} is no defect class of {inspection.category!r}: {listed} to its setting "
                "defect_classes."
            )
    return await asyncio.to_thread(state.reference_store.set_label, inspection_id, "defect", details)


def _defect_classes(state: AppState, category: str | None) -> tuple[str, ...]:
    """As they are in the catalogue: another replica may just have added one. None of a category that was removed."""
    try:
        return (
            () if category is None else state.reference_store.catalogue.categories.get(category).settings.defect_classes
        )
    except CategoryNotFound:
        return ()


async def mark_as_good(
    state: AppState, inspection: Inspection, lease: Lease, *, confirm: bool, role: Role
) -> Inspection:
    """Label an inspected part `good` and make its image a reference of its category, in one transaction.

    An operator's label is kept, and waits for review before the image becomes a reference: always where the category
    has it so (`review_feedback`), else where confirmation is needed.
    lease: for the image's bytes. confirm: whether the person confirms the effect. role: the person's.
    ConfirmationNeeded when it would move the threshold far or does not look like the product, ConfirmationForbidden
    when this role may not confirm that; Conflict, ImageRejected, OriginalUnreadable, and GeometryInactive.
    """
    category = inspection.category
    if category is None or inspection.image_sha256 is None or inspection.image_suffix is None:
        raise Conflict("The inspection has no category that its image could become a reference of.")
    try:
        await asyncio.to_thread(state.reference_store.catalogue.categories.get, category)
    except CategoryNotFound:
        raise Conflict(f"The category {category!r} was removed: restore it first.") from None
    existing = await asyncio.to_thread(state.reference_store.find_existing, category, [inspection.image_sha256])
    if existing and inspection.label == "good" and not inspection.waits:
        return inspection
    if inspection.stored_bytes is None:
        raise Conflict(
            "The image is no longer stored, so it cannot become a reference: send it to POST /references.",
        )
    settings = state.reference_store.published.settings.get(category, CategorySettings())
    if role < Role.ENGINEER and settings.review_feedback and not existing:
        return await asyncio.to_thread(state.reference_store.propose, inspection.id)
    data = await read_stored_image(state, inspection.image_sha256, inspection.image_suffix, lease)
    reading = Reading.from_json(inspection.reading)
    geometry = state.reference_store.geometry_of(category)
    upload = Upload((ImageFile(inspection.filename, data),))
    [image] = await state.onboarding_decoder.decode(upload, geometry, reading)
    if isinstance(image, ImageRejected):
        raise image
    encoded = await encode_image(state, image)
    confirmed: tuple[str, ...] = ()
    if not existing:
        effect, reasons = await _effect(state, inspection, category, encoded)
        confirmed = tuple(reason.reason for reason in reasons)
        needed = Role[state.settings.confirm_role.upper()]
        if reasons and role < Role.ENGINEER:
            return await asyncio.to_thread(state.reference_store.propose, inspection.id)
        if reasons and not (confirm and role >= needed):
            raise _unconfirmed(effect, reasons, confirm=confirm, role=role, needed=needed)
    original = with_appearance(image)
    return await asyncio.to_thread(state.reference_store.promote, inspection.id, original, encoded, geometry, confirmed)


def _unconfirmed(
    effect: Effect, reasons: tuple[Reason, ...], *, confirm: bool, role: Role, needed: Role
) -> ConfirmationNeeded:
    why = " ".join(reason.detail for reason in reasons)
    if role < needed:
        detail = f"{why} Somebody with the role {needed.word!r} has to confirm it."
    else:
        detail = f"{why} Send it again with `confirm` to make it a reference all the same."
    kind = ConfirmationForbidden if confirm else ConfirmationNeeded
    return kind(detail, effect, reasons, needed.word)


async def _effect(
    state: AppState, inspection: Inspection, category: str, encoded: EncodedReferences
) -> tuple[Effect, tuple[Reason, ...]]:
    """What the image would do as a reference, and what speaks against it.

    That takes about the work of two detections, behind all detections.
    """
    published = state.reference_store.published
    if published.superseded_by is not None or encoded.codec != published.memory.codec.name:
        raise MemoryInactive("the memory was switched while the image was encoded")
    settings = published.settings.get(category, CategorySettings())
    calibration = state.calibrations.of(category)
    # The calibration's references were scored with its layer weights: so is the image that is compared with them.
    scoring = with_calibrated_weights(settings.scoring, calibration)
    screening = Screening(published.memory, state.engine, category, scoring, [encoded], [inspection.filename])
    compared = await asyncio.wrap_future(state.worker.submit_screening(lambda _: screening.compare(0)))
    effect = estimate_effect(compared, calibration, settings.false_reject_rate)
    return effect, tuple(_reasons(state, inspection, category, settings, compared, effect))


def _reasons(
    state: AppState,
    inspection: Inspection,
    category: str,
    settings: CategorySettings,
    compared: ScreeningResult,
    effect: Effect,
) -> Iterator[Reason]:
    memory, calibration = state.reference_store.memory, state.calibrations.of(category)
    if effect.exceeds_outlier_limit:
        detail = (
            f"The threshold of {category!r} would move from {effect.threshold_before:.3f} to "
            f"{effect.threshold_after:.3f}; beyond {effect.outlier_limit:.3f} a score is an outlier."
        )
        yield Reason("threshold", detail)
    elif calibration is None and len(memory.rows_of(category)) >= MIN_IMAGES:
        detail = f"{category!r} is being calibrated, so it is not known what this would do to its threshold."
        yield Reason("not_calibrated", detail)
    statistics = compared.statistics
    unfamiliar = statistics is not None and decide(statistics, calibration, settings.decision).verdict == "unfamiliar"
    if unfamiliar or inspection.verdict == "unfamiliar":
        yield Reason("unfamiliar", f"The image looks like none of the references of {category!r}.")
    if (other := _other_category(state, inspection, compared)) is not None:
        detail = f"The image fits {other!r} better than {category!r}."
        yield Reason("other_category", detail, category=other)


def _other_category(state: AppState, inspection: Inspection, compared: ScreeningResult) -> str | None:
    """The category that the image fits better, now or, if that still has references, when it was inspected."""
    for finding in compared.findings:
        if finding.kind == "other_category":
            return finding.category
    then = str((inspection.alternative_category or {}).get("category", ""))
    return then if then and len(state.reference_store.memory.rows_of(then)) else None
