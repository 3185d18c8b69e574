"""Previews other settings on a category's references, its latest inspections; nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal

from indexer.calibration.calibration import Calibration
from indexer.calibration.what_if import WhatIf, estimate_calibration
from indexer.detection.decision import decide
from indexer.detection.detector import Criteria, JudgedImage, judge
from indexer.domain.category import CategorySettings
from indexer.domain.errors import GeometryInactive, NoReferencesError, NothingInspected, OriginalUnreadable
from indexer.domain.inspection import Inspection, InspectionFilter
from indexer.domain.reading import Reading
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.verdict import Decision
from indexer.imaging.decode import ImageRejected
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics
from service.background.worker_steps import await_steps
from service.inference.decoder import DecodedImage, ImageFile, Upload
from service.inference.worker import JobContext
from service.state import AppState

Basis = Literal["none", "stored", "measured", "estimated"]

MAX_SEARCHED = 48  # references searched for anew; with as many or fewer nothing is estimated
MAX_MEASURED = 512  # references measured anew from the searches that are kept, which takes milliseconds each


@dataclass(frozen=True)
class JudgedScore:
    """An image under one group of settings."""

    score: float
    decision: Decision

    @classmethod
    def of(cls, image: JudgedImage) -> JudgedScore:
        """Of an image that was searched for."""
        return cls(image.measures.score, image.decision)


@dataclass(frozen=True)
class SettingsComparison:
    """A reference or a recent part, judged before and after."""

    before: JudgedScore
    after: JudgedScore

    @property
    def changed(self) -> bool:
        """Whether the verdict would be another."""
        return self.before.decision.verdict != self.after.decision.verdict


@dataclass(frozen=True)
class Preview:
    """The preview's result.

    before, after: the present and the new calibration. basis, measured: the source of the new one, and the number of
    references scored for it. searched_again: whether parts were searched again, or stored scores were used. stale:
    parts whose stored score was computed with other references or search settings.
    """

    version: int
    before: Calibration | None
    after: Calibration | None
    basis: Basis
    measured: int
    searched_again: bool
    references: tuple[tuple[int, SettingsComparison], ...]
    inspections: tuple[tuple[Inspection, SettingsComparison], ...]
    stale: frozenset[str]


async def preview(state: AppState, name: str, now: CategorySettings, then: CategorySettings, limit: int) -> Preview:
    """Hold references and the latest `limit` inspections against settings that a category does not have yet.

    Where only rates and the threshold differ, every score is known already. Otherwise images that are kept are
    encoded and searched again, and references measured, behind every detection.
    """
    memory = state.reference_store.memory
    before = state.calibrations.of(name)
    matching = InspectionFilter(category=name)
    page = await asyncio.to_thread(state.reference_store.catalogue.inspections.page, matching, None, limit)
    recent = [item for item in page.items if item.image_sha256 is not None and item.novelty is not None]
    rescored = now.scoring != then.scoring

    def compared(old: ImageStatistics, new: ImageStatistics) -> SettingsComparison:
        return SettingsComparison(
            JudgedScore(old.score, decide(old, before, now.decision)),
            JudgedScore(new.score, decide(new, after, then.decision)),
        )

    estimate = WhatIf(before, 0) if before is not None else None
    if rescored:
        async with state.preview_lock:
            if before is not None:
                estimate = await _estimate(state, memory, before, then.scoring)
            after = None if estimate is None else estimate.calibration
            parts = await _search_again(state, name, recent, Criteria.of(now, before), Criteria.of(then, after))
    else:
        after = before
        parts = {
            inspection.id: compared(_recorded_measures(inspection), _recorded_measures(inspection))
            for inspection in recent
        }
    stale = (
        set()
        if rescored
        else {inspection.id for inspection in recent if before is None or inspection.calibration_key != before.key}
    )
    references = () if before is None or after is None else tuple(_pairs(before, after))
    return Preview(
        version=memory.version,
        before=before,
        after=after,
        basis=_basis(after, estimate, rescored=rescored),
        measured=0 if estimate is None else estimate.measured,
        searched_again=rescored,
        references=tuple((one, compared(old, new)) for one, old, new in references),
        inspections=tuple((inspection, parts[inspection.id]) for inspection in recent if inspection.id in parts),
        stale=frozenset(stale),
    )


def _basis(after: Calibration | None, estimate: WhatIf | None, *, rescored: bool) -> Basis:
    """Where the new threshold comes from; `none` also of a calibration without a score, as of a single reference."""
    if after is None or not len(after):
        return "none"
    if not rescored:
        return "stored"
    return "measured" if estimate is not None and estimate.measured == len(after) else "estimated"


def _pairs(
    before: Calibration, after: Calibration
) -> Generator[tuple[int, ImageStatistics, ImageStatistics], None, None]:
    """Each reference that both are of, highest score afterwards first."""
    known = dict(zip(before.references, before.statistics, strict=True))
    ranked = sorted(zip(after.references, after.statistics, strict=True), key=lambda pair: -pair[1].score)
    for one, new in ranked:
        yield one, known[one], new


def _recorded_measures(inspection: Inspection) -> ImageStatistics:
    """What is kept of an inspection's measures. The peak is not, and no verdict depends on it."""
    novelty = inspection.novelty or {}
    median, similarity, uniformity = (
        float(str(novelty[name])) for name in ("median_distance", "similarity", "self_similarity")
    )
    return ImageStatistics(inspection.score, inspection.score, median, 1.0 - similarity, uniformity)


async def _estimate(state: AppState, memory: MemoryBank, before: Calibration, settings: ScoringSettings) -> WhatIf:
    """The calibration under other settings, a reference a turn, in the worker's idle time."""
    stored = await asyncio.to_thread(state.calibrations.searches, before.category)
    if stored is None:
        return WhatIf(before, 0)
    max_references = MAX_MEASURED if (stored.k, stored.rho) == (settings.k, settings.rho) else MAX_SEARCHED
    return await await_steps(
        state.worker, estimate_calibration(memory, state.engine, before, stored, settings, max_references)
    )


async def _search_again(
    state: AppState, name: str, recent: Sequence[Inspection], now: Criteria, then: Criteria
) -> dict[str, SettingsComparison]:
    """How each inspection whose image can be read is judged now and would be, by its id.

    One image at a time is held decoded. An image that has become a reference is compared with the others only.
    """
    waiting = {}
    for inspection in recent:
        sha256, suffix = inspection.image_sha256 or "", inspection.image_suffix or ""
        try:
            data = await state.thread_pools.files(state.reference_store.read_original, sha256, suffix)
        except OriginalUnreadable:
            continue
        reading = Reading.from_json(inspection.reading)
        upload = Upload((ImageFile(inspection.filename, data),))
        [decoded] = await state.onboarding_decoder.decode(upload, state.reference_store.geometry_of(name), reading)
        if isinstance(decoded, ImageRejected):
            continue
        existing = await asyncio.to_thread(state.reference_store.find_existing, name, [sha256])
        work = _judge_twice(state, decoded, name, tuple(existing.values()), now, then)
        waiting[inspection.id] = asyncio.wrap_future(state.worker.submit_onboarding(decoded.prepared, work))
    outcomes = await asyncio.gather(*waiting.values(), return_exceptions=True)
    judged = {}
    for inspection_id, outcome in zip(waiting, outcomes, strict=True):
        if isinstance(outcome, SettingsComparison):
            judged[inspection_id] = outcome
        elif not isinstance(outcome, NoReferencesError | NothingInspected):
            raise outcome
    return judged


def _judge_twice(
    state: AppState, image: DecodedImage, name: str, own: Sequence[int], now: Criteria, then: Criteria
) -> Callable[[JobContext], SettingsComparison]:
    size = image.original.width, image.original.height

    def work(context: JobContext) -> SettingsComparison:
        memory, features = context.memory, context.features
        if memory.geometry_of(name) != image.prepared.placement.geometry:
            raise GeometryInactive("the category has another geometry since the image was prepared")
        without = [row for row, one in enumerate(memory.ids.tolist()) if one in own] if own else []
        after = judge(memory, state.engine, features, name, then, without, size)
        if (now.scoring.k, now.scoring.rho) == (then.scoring.k, then.scoring.rho):  # the search is the same
            before = after.rejudged(features, now)
        else:
            before = judge(memory, state.engine, features, name, now, without, size)
        return SettingsComparison(JudgedScore.of(before), JudgedScore.of(after))

    return work
