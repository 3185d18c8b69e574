"""`/categories/{name}/preview`: what other settings would change, before they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from indexer.domain.category import CategorySettings
from indexer.verdicts.calibration import Calibration
from service.http.disconnect import while_wanted
from service.http.problems import documented
from service.routes.categories import Name, settings_changes
from service.routes.dependencies import runtime
from service.schemas.inspections import Verdict
from service.schemas.preview import (
    HeldView,
    PreviewAnswer,
    PreviewBody,
    PreviewedInspection,
    PreviewedReference,
    PreviewSide,
)
from service.state import Runtime
from service.usecases.preview import Held, Preview, preview

router = APIRouter(prefix="/categories", tags=["categories"])


@router.post("/{name}/preview", responses=documented("not-found", "not-ready", "device-memory-full", "busy"))
async def previewed(
    name: Name,
    body: PreviewBody,
    request: Request,
    running: Annotated[Runtime, Depends(runtime)],
    limit: Annotated[int, Query(ge=1, le=50, description="Inspections to try it on, and references to list.")] = 20,
) -> PreviewAnswer:
    """What settings would make of the references and of the latest inspections. Nothing is changed.

    At once where only rates or the threshold differ. Otherwise pictures are encoded and searched again behind every
    detection, which takes about as long as inspecting them twice; one such preview waits for another, and ends when its
    client closes the connection.
    """
    found = await asyncio.to_thread(running.library.catalogue.categories.get, name)
    then = replace(found.settings, **settings_changes(running, name, body))
    tried = await while_wanted(request, preview(running, name, found.settings, then, limit))
    current = running.calibrations.is_current(running.library.memory, name, found.settings.scoring)
    return _view(tried, found.settings, then, limit, current=current)


def _view(tried: Preview, now: CategorySettings, then: CategorySettings, limit: int, *, current: bool) -> PreviewAnswer:
    references = [each for _, each in tried.references]
    inspections = [each for _, each in tried.inspections]
    return PreviewAnswer(
        version=tried.version, basis=tried.basis, measured=tried.measured, current=current,
        searched_again=tried.searched_again,
        before=_side(
            tried.before, now, [each.before for each in references], [each.before for each in inspections]
        ),
        after=_side(tried.after, then, [each.after for each in references], [each.after for each in inspections]),
        changed_references=sum(each.changed for each in references),
        changed_inspections=sum(each.changed for each in inspections),
        references=tuple(
            PreviewedReference(reference_id=one, before=_held(each.before), after=_held(each.after))
            for one, each in tried.references[:limit]
        ),
        inspections=tuple(
            PreviewedInspection(
                inspection_id=one.id, at=one.at, filename=one.filename, stale=one.id in tried.stale,
                before=_held(each.before), after=_held(each.after),
            )
            for one, each in tried.inspections
        ),
    )  # fmt: skip


def _side(
    calibration: Calibration | None, settings: CategorySettings, references: Sequence[Held], inspections: Sequence[Held]
) -> PreviewSide:
    threshold = settings.threshold
    if threshold is None and calibration is not None:
        threshold = calibration.scores.level(settings.false_reject_rate)
    return PreviewSide(
        threshold=threshold,
        reached=calibration is not None and calibration.scores.reaches(settings.false_reject_rate),
        unfamiliar_level=None if calibration is None else calibration.familiarity.level(settings.unfamiliar_rate),
        references=_counted(references), inspections=_counted(inspections),
    )  # fmt: skip


def _counted(held: Sequence[Held]) -> dict[Verdict, int]:
    return dict(Counter(each.decision.verdict for each in held))


def _held(held: Held) -> HeldView:
    return HeldView(score=held.score, p_value=held.decision.p_value, verdict=held.decision.verdict)
