"""The state of a category's calibration as responses show it."""

from __future__ import annotations

from typing import Literal

from indexer.calibration.conformal import references_needed, smallest_rate
from indexer.calibration.rate_advice import rate_advice
from indexer.domain.category import CategorySettings
from service.schemas.calibration import CalibrationView, UnfamiliarView
from service.state import AppState


def calibration_view(state: AppState, name: str, settings: CategorySettings) -> CalibrationView:
    """Where a category's calibration stands now."""
    memory = state.reference_store.memory
    calibration = state.calibrations.of(name)
    calibration_state: Literal["ready", "pending", "none"] = "pending"
    if state.calibrations.is_current(memory, name, settings.scoring):
        calibration_state = "ready"
    live = len(memory.rows_of(name))
    if live < 2:
        calibration_state, calibration = "none", None
    progress = 1.0 if calibration_state == "ready" else state.calibrations.progress(name)
    counted = len(calibration) if calibration is not None and calibration_state == "ready" else live
    advice = rate_advice(settings.decision, counted)
    if advice is None and calibration_state == "pending" and settings.threshold is None:
        advice = f"Its references are being scored against each other, {100 * progress:.0f} % done: inspect again then."
    rate, unfamiliar_rate = settings.false_reject_rate, settings.unfamiliar_rate
    return CalibrationView(
        state=calibration_state,
        progress=progress,
        threshold=None if calibration is None else calibration.scores.threshold_at(rate),
        region_threshold=None if calibration is None else calibration.peaks.threshold_at(rate),
        references=0 if calibration is None else len(calibration),
        references_needed=references_needed(rate),
        rate_supported=calibration is not None and calibration.scores.supports_rate(rate),
        smallest_rate=smallest_rate(len(calibration)) if calibration else None,
        advice=advice,
        duplicates=0 if calibration is None else calibration.duplicates,
        unfamiliar=UnfamiliarView(
            threshold=None if calibration is None else calibration.novelty.threshold_at(unfamiliar_rate),
            rate_supported=calibration is not None and calibration.novelty.ranking.supports_rate(unfamiliar_rate),
            references_needed=references_needed(unfamiliar_rate),
        ),
        layer_weights=None if calibration is None else calibration.layer_weights,
        version=None if calibration is None else calibration.version,
    )
