"""Gathers the report of a lot or a shift."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, tzinfo

from indexer.domain.inspection import Inspection, InspectionFilter
from indexer.domain.stored_file import thumbnail_name
from service.recording.map_images import overlay_jpeg
from service.reports.report import Report, ReportedPart
from service.state import AppState
from service.usecases.stored_images import inspected_frame


async def make_report(state: AppState, matching: InspectionFilter, max_parts: int, zone: tzinfo) -> Report:
    """What happened to the matching inspections, with the newest defective parts."""
    inspections = state.reference_store.catalogue.inspections
    counts = await asyncio.to_thread(inspections.counts, matching)
    pareto = await asyncio.to_thread(inspections.pareto, matching)
    defects = await asyncio.to_thread(inspections.defects, matching, max_parts)
    parts = await state.thread_pools.files(lambda: tuple(_part(state, inspection) for inspection in defects))
    return Report(matching, zone, datetime.now(UTC), counts, pareto, parts)


def _part(state: AppState, inspection: Inspection) -> ReportedPart:
    try:
        image = (state.history_folder / thumbnail_name(inspection.id)).read_bytes()
    except FileNotFoundError:
        return ReportedPart(inspection, None, None)
    heat = overlay_jpeg(state.history_folder, inspection, inspected_frame(state, inspection))
    return ReportedPart(inspection, image, heat)
