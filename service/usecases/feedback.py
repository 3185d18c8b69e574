"""Labels an inspection as good: its image becomes a reference, after confirmation where it looks wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict

from indexer.calibration.calibration import with_calibrated_weights
from indexer.detection.decision import decide
from indexer.domain.category import CategorySettings
from indexer.domain.errors import CategoryNotFound
from indexer.domain.inspection import Inspection
from indexer.domain.reading import Reading
from indexer.imaging.decode import ImageRejected
from indexer.memory import EncodedReferences
from indexer.screening.effect import Effect, estimate_effect
from indexer.screening.screening import MIN_IMAGES, Screening, ScreeningResult
from service.auth.roles import Role
from service.http.problems import ProblemError, from_rejection, memory_switched
from service.inference.decoder import ImageFile, Upload
from service.inference.in_flight import Lease
from service.schemas.inspections import ConfirmationReason, EffectView, ReasonView
from service.state import AppState
from service.usecases.onboard import encode_picture, with_appearance
from service.usecases.stored_images import read_stored_image


async def mark_as_good(
    state: AppState, inspection: Inspection, held: Lease, *, confirm: bool, role: Role
) -> Inspection:
    """Make an inspected image a reference of its category, and keep that the part was called good, together.

    held: for the image's bytes. confirm: the person knows what it would do. role: the person's. ProblemError
    `confirmation-needed`, with the effect, when it would move the threshold far or does not look like the product, and
    `forbidden` when this role may not confirm that.
    """
    category = inspection.category
    if category is None or inspection.image_sha256 is None or inspection.image_suffix is None:
        raise ProblemError("conflict", "The inspection has no category that its picture could become a reference of.")
    try:
        await asyncio.to_thread(state.library.catalogue.categories.get, category)
    except CategoryNotFound:
        raise ProblemError("conflict", f"The category {category!r} was removed: restore it first.") from None
    known = await asyncio.to_thread(state.library.find_existing, category, [inspection.image_sha256])
    if known and inspection.judgement == "good":
        return inspection
    if inspection.kept_bytes is None:
        raise ProblemError(
            "conflict",
            "The picture is no longer kept, so it cannot become a reference: send it to POST /references.",
        )
    data = await read_stored_image(state, inspection.image_sha256, inspection.image_suffix, held)
    reading = Reading.from_json(inspection.reading)
    [image] = await state.onboarding_decoder.decode(Upload((ImageFile(inspection.filename, data),)), reading)
    if isinstance(image, ImageRejected):
        raise from_rejection(image)
    encoded = await encode_picture(state, image)
    confirmed: tuple[ConfirmationReason, ...] = ()
    if not known:
        effect = await _effect(state, inspection, category, encoded)
        confirmed = tuple(each.reason for each in effect.reasons)
        if confirmed:
            _check_confirmation(effect, confirm=confirm, role=role, needed=Role[state.settings.confirm_role.upper()])
    original = with_appearance(image)
    geometry = state.library.geometry_of(category)
    return await asyncio.to_thread(state.library.promote, inspection.id, original, encoded, geometry, confirmed)


def _check_confirmation(effect: EffectView, *, confirm: bool, role: Role, needed: Role) -> None:
    if confirm and role >= needed:
        return
    why = " ".join(each.detail for each in effect.reasons)
    if role < needed:
        detail = f"{why} Somebody with the role {needed.word!r} has to confirm it."
    else:
        detail = f"{why} Send it again with `confirm` to make it a reference all the same."
    kind = "forbidden" if confirm else "confirmation-needed"
    raise ProblemError(kind, detail, effect=effect.model_dump(), confirm_role=needed.word)


async def _effect(state: AppState, inspection: Inspection, category: str, encoded: EncodedReferences) -> EffectView:
    """What the image would do as a reference, for about the work of two detections, behind all detections."""
    published = state.library.published
    if published.superseded_by is not None or encoded.codec != published.memory.codec.name:
        raise memory_switched()
    settings = published.settings.get(category, CategorySettings())
    calibration = state.calibrations.of(category)
    # What is held against the calibration is scored as it was, with its layer weights.
    scoring = with_calibrated_weights(settings.scoring, calibration)
    screening = Screening(published.memory, state.engine, category, scoring, [encoded], [inspection.filename])
    compared = await asyncio.wrap_future(state.worker.submit_screening(lambda _: screening.compare(0)))
    effect = estimate_effect(compared, calibration, settings.false_reject_rate)
    reasons = tuple(_reasons(state, inspection, category, settings, compared, effect))
    return EffectView(**asdict(effect), reasons=reasons)


def _reasons(
    state: AppState,
    inspection: Inspection,
    category: str,
    settings: CategorySettings,
    compared: ScreeningResult,
    effect: Effect,
) -> Iterator[ReasonView]:
    memory, calibration = state.library.memory, state.calibrations.of(category)
    if effect.exceeds_outlier_limit:
        detail = (
            f"The threshold of {category!r} would move from {effect.threshold_before:.3f} to "
            f"{effect.threshold_after:.3f}; beyond {effect.outlier_limit:.3f} a score is an outlier."
        )
        yield ReasonView(reason="threshold", detail=detail)
    elif calibration is None and len(memory.rows_of(category)) >= MIN_IMAGES:
        detail = f"{category!r} is being calibrated, so it is not known what this would do to its threshold."
        yield ReasonView(reason="not_calibrated", detail=detail)
    statistics = compared.statistics
    unfamiliar = statistics is not None and decide(statistics, calibration, settings.decision).verdict == "unfamiliar"
    if unfamiliar or inspection.verdict == "unfamiliar":
        yield ReasonView(reason="unfamiliar", detail=f"The picture looks like none of the references of {category!r}.")
    if (other := _other_category(state, inspection, compared)) is not None:
        detail = f"The picture fits {other!r} better than {category!r}."
        yield ReasonView(reason="other_category", detail=detail, category=other)


def _other_category(state: AppState, inspection: Inspection, compared: ScreeningResult) -> str | None:
    """The category that the image fits better, now or, if that still has references, when it was inspected."""
    for finding in compared.findings:
        if finding.kind == "other_category":
            return finding.category
    then = str((inspection.better_category or {}).get("category", ""))
    return then if then and len(state.library.memory.rows_of(then)) else None
