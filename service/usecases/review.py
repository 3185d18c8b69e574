"""Decides one inspection of the review queue: as a reference, as a defect, or as neither."""

from __future__ import annotations

import asyncio

from indexer.domain.errors import InspectionNotFound, OriginalUnreadable, OtherProportions
from indexer.domain.inspection import Inspection
from indexer.domain.review import ReviewDecision
from indexer.imaging.decode import ImageRejected
from service.auth.roles import Role
from service.errors import ConfirmationNeeded, Conflict
from service.state import AppState
from service.usecases.feedback import mark_as_good

# What concerns one inspection only: the others of a request can be decided.
_REFUSALS = (InspectionNotFound, Conflict, ConfirmationNeeded, ImageRejected, OriginalUnreadable, OtherProportions)


async def decide(
    state: AppState, inspection_id: str, decision: ReviewDecision, *, confirm: bool, role: Role
) -> Inspection | Exception:
    """The inspection as it was decided, or what keeps it from that.

    confirm, role: as for `mark_as_good`. Whatever else is raised concerns all inspections alike.
    """
    try:
        match decision:
            case "good":
                return await _approve(state, inspection_id, confirm=confirm, role=role)
            case "defect":
                return await asyncio.to_thread(state.reference_store.set_label, inspection_id, "defect")
            case "dismiss":
                return await asyncio.to_thread(state.reference_store.catalogue.review.dismiss, inspection_id)
            case "reopen":
                return await asyncio.to_thread(state.reference_store.reopen, inspection_id)
    except _REFUSALS as refusal:
        return refusal


async def _approve(state: AppState, inspection_id: str, *, confirm: bool, role: Role) -> Inspection:
    inspection = await asyncio.to_thread(state.reference_store.catalogue.inspections.get, inspection_id)
    with state.onboarding.images.lease(1), state.onboarding.held_bytes.lease() as lease:
        return await mark_as_good(state, inspection, lease, confirm=confirm, role=role)
