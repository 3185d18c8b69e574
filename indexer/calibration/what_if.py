"""A category's calibration under other settings, told before anybody waits for the whole of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import LeaveOneOut, balanced_by, layer_distances
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import FeatureSpace
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import Measures, measure
from indexer.scoring.scoring import Scored, score_image
from indexer.search import PatchSearchEngine


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a calibration would be.

    measured: how many references were measured under the new settings; when that is all of them, it is no estimate.
    """

    calibration: Calibration
    measured: int


def estimate(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    known: Calibration,
    kept: LeaveOneOut,
    settings: ScoringSettings,
    most: int,
) -> Generator[float, None, Estimate]:
    """Measure at most `most` references under these settings; yield the share done, return the calibration.

    known: the category's calibration now, with its references named; kept: the searches that it was made from. Half of
    those measured are the ones with the highest scores, which decide the threshold; the others are spread over the
    rest. Layer weights that the settings do not name are those of the kept searches. A reference that is not measured
    is taken to have changed like those that measured alike before. Between two yields lies at most the work of one
    detection.
    """
    places = {int(one): place for place, one in enumerate(kept.ids)}
    live = set(memory.ids[memory.rows_of(known.category)].tolist())
    there = [
        (one, old)
        for one, old in zip(known.references, known.measures, strict=True)
        if one in live and one in places and not np.isnan(kept.nearest[places[one]])
    ]
    there.sort(key=lambda each: -each[1].score)
    chosen = _chosen(len(there), most)
    rows = [places[there[number][0]] for number in chosen]
    same = (kept.k, kept.rho) == (settings.k, settings.rho)
    steps = len(rows) if same else 2 * len(rows)
    searched = dict[int, Scored]()
    for row in () if same else rows:
        searched[row] = _searched(memory, engine, known.category, kept, row, settings)
        yield len(searched) / steps
    settings = _balanced(memory.space, kept, searched, settings)
    found: list[Measures] = []
    for done, row in enumerate(rows):
        features = memory.features_of(memory.row_of(int(kept.ids[row])))
        if same:
            distances, nearest = 1.0 - kept.best[row], float(kept.nearest[row])
        else:
            distances, nearest = searched[row].distances, float(searched[row].neighbours.similarities[0])
        found.append(measure(distances, nearest, features, memory.space, settings))
        yield (len(searched) + done + 1) / steps
    before = np.array([astuple(old) for _, old in there], np.float64).reshape(-1, 5)  # (references, measures)
    after = before if not found else _carried(before, chosen, np.array([astuple(each) for each in found], np.float64))
    measures = [Measures(*values) for values in after.tolist()]
    calibration = Calibration.of(
        known.category,
        memory.version,
        "",
        measures,
        known.duplicates,
        [one for one, _ in there],
        settings.layer_weights,
    )
    return Estimate(calibration, len(chosen))


def _chosen(count: int, most: int) -> list[int]:
    """Places in a descending order of scores: the first ones, and some of the rest at equal distances."""
    if count <= most:
        return list(range(count))
    top = most // 2
    return [*range(top), *np.linspace(top, count - 1, most - top).round().astype(int).tolist()]


def _searched(
    memory: MemoryBank, engine: PatchSearchEngine, category: str, kept: LeaveOneOut, row: int, settings: ScoringSettings
) -> Scored:
    """One reference searched for among the others, without its duplicates."""
    features = memory.features_of(memory.row_of(int(kept.ids[row])))
    group: Sequence[int] = kept.ids[kept.groups == kept.groups[row]].tolist()
    without = np.flatnonzero(np.isin(memory.ids, group)).tolist()
    return score_image(memory, engine, features, settings, category, without)


def _balanced(
    space: FeatureSpace, kept: LeaveOneOut, searched: Mapping[int, Scored], settings: ScoringSettings
) -> ScoringSettings:
    """With the layer weights that the kept searches say, carried as the distances of those searched anew changed."""
    if settings.layer_weights is not None or not searched:
        return kept.balanced(space, settings)
    counted = (kept.groups == kept.ids) & ~np.isnan(kept.nearest)
    usual = layer_distances(1.0 - kept.best[counted], space, settings)
    before = layer_distances(1.0 - kept.best[list(searched)], space, settings)
    after = layer_distances(np.stack([each.distances for each in searched.values()]), space, settings)
    changed = np.divide(after, before, out=np.ones_like(after), where=before > 0)
    return balanced_by(usual * changed, settings)


def _carried(before: NDArray[np.float64], chosen: Sequence[int], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each measure of every reference: as found, or changed as it changed in the references nearest in that measure."""
    after = np.empty_like(before)
    for number in range(before.shape[1]):
        known = before[list(chosen), number]
        order = np.argsort(known, kind="stable")
        change = found[order, number] - known[order]
        after[:, number] = before[:, number] + np.interp(before[:, number], known[order], change)
    after[list(chosen)] = found
    return after
