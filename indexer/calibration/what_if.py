"""Estimates a category's calibration under other settings without a full recalibration."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.calibration import Calibration
from indexer.calibration.layer_weights import layer_distances, weigh_layers
from indexer.calibration.leave_one_out import LeaveOneOut, as_in_coreset
from indexer.domain.geometry import Frame
from indexer.domain.scoring_settings import ScoringSettings
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics, from_distances
from indexer.scoring.scoring import ScoringResult, score_image
from indexer.scoring.stored_frame import stored_frame
from indexer.search import PatchSearchEngine


@dataclass(frozen=True, eq=False)
class WhatIf:
    """An estimated calibration.

    measured: number of references scored under the new settings; if all were, it is exact.
    """

    calibration: Calibration
    measured: int


def estimate_calibration(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    known: Calibration,
    searches: LeaveOneOut,
    settings: ScoringSettings,
    limit: int,
) -> Generator[float, None, WhatIf]:
    """Score at most `limit` references under these settings; yield the share done, return the calibration.

    known: the category's present calibration, with reference ids; searches: the searches it was computed from. Half of
    those measured are the ones with the highest scores, which decide the threshold; the others are spread over the
    rest. Layer weights that the settings lack are computed from the stored searches. The change of a reference that is
    not scored is interpolated from those with similar statistics before. Between two yields lies at most the work of
    one detection.
    """
    frame = memory.frame(known.category)
    positions = {int(reference_id): position for position, reference_id in enumerate(searches.ids)}
    live = set(memory.ids[memory.rows_of(known.category)].tolist())
    ranked = [
        (reference_id, old)
        for reference_id, old in zip(known.references, known.statistics, strict=True)
        if reference_id in live
        and reference_id in positions
        and not np.isnan(searches.nearest[positions[reference_id]])
    ]
    ranked.sort(key=lambda pair: -pair[1].score)
    chosen = _choose_positions(len(ranked), limit)
    rows = [positions[ranked[rank][0]] for rank in chosen]
    # A coreset is searched whole, whatever K is.
    same = searches.rho == settings.rho and (searches.k == settings.k or searches.coreset is not None)
    steps = len(rows) if same else 2 * len(rows)
    searched = dict[int, ScoringResult]()
    for row in () if same else rows:
        searched[row] = _search(memory, engine, known.category, searches, row, settings)
        yield len(searched) / steps
    settings = _balance(frame, searches, searched, settings)
    result: list[ImageStatistics] = []
    for done, row in enumerate(rows):
        features = memory.features_of(memory.row_of(int(searches.ids[row])))
        if same:
            distances, nearest = 1.0 - searches.best[row], float(searches.nearest[row])
        else:
            distances, nearest = searched[row].distances, float(searched[row].neighbours.similarities[0])
        placed = stored_frame(features, frame, settings)
        result.append(from_distances(distances, nearest, features, placed, settings))
        yield (len(searched) + done + 1) / steps
    before = np.array([astuple(old) for _, old in ranked], np.float64).reshape(-1, 6)  # (references, measures)
    after = (
        before
        if not result
        else _extrapolate(
            before, chosen, np.array([astuple(image_statistics) for image_statistics in result], np.float64)
        )
    )
    statistics = [ImageStatistics(*values) for values in after.tolist()]
    calibration = Calibration.from_statistics(
        known.category,
        memory.version,
        "",
        statistics,
        known.duplicates,
        [reference_id for reference_id, _ in ranked],
        settings.layer_weights,
    )
    return WhatIf(calibration, len(chosen))


def _choose_positions(count: int, limit: int) -> list[int]:
    """Places in a descending order of scores: the first ones, and some of the rest at equal distances."""
    if count <= limit:
        return list(range(count))
    top = limit // 2
    return [*range(top), *np.linspace(top, count - 1, limit - top).round().astype(int).tolist()]


def _search(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    category: str,
    searches: LeaveOneOut,
    row: int,
    settings: ScoringSettings,
) -> ScoringResult:
    """One reference searched for among the others, without its duplicates; only its distances are of a coreset."""
    features = memory.features_of(memory.row_of(int(searches.ids[row])))
    group: Sequence[int] = searches.ids[searches.groups == searches.groups[row]].tolist()
    excluded = np.flatnonzero(np.isin(memory.ids, group)).tolist()
    result = score_image(memory, engine, features, settings, category, excluded)
    distances = as_in_coreset(memory, engine, searches, row, result.searched, result.distances)
    return replace(result, distances=distances)


def _balance(
    frame: Frame, searches: LeaveOneOut, searched: Mapping[int, ScoringResult], settings: ScoringSettings
) -> ScoringSettings:
    """With the layer weights that the kept searches say, carried as the distances of those searched anew changed."""
    if settings.layer_weights is not None or not searched:
        return searches.balance_layers(frame, settings)
    counted = (searches.groups == searches.ids) & ~np.isnan(searches.nearest)
    typical = layer_distances(1.0 - searches.best[counted], frame, settings)
    before = layer_distances(1.0 - searches.best[list(searched)], frame, settings)
    after = layer_distances(np.stack([reference.distances for reference in searched.values()]), frame, settings)
    changed = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return weigh_layers(typical * changed, settings)


def _extrapolate(
    before: NDArray[np.float64], chosen: Sequence[int], measured: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each measure of every reference: as found, or changed as it changed in the references nearest in that measure."""
    after = np.empty_like(before)
    for index in range(before.shape[1]):
        known = before[list(chosen), index]
        order = np.argsort(known, kind="stable")
        change = measured[order, index] - known[order]
        after[:, index] = before[:, index] + np.interp(before[:, index], known[order], change)
    after[list(chosen)] = measured
    return after
