"""Leave-one-out search of a category's references, updated incrementally when references are added or removed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.calibration import Calibration
from indexer.calibration.coreset_leave_one_out import coreset_similarities
from indexer.calibration.layer_weights import layer_distances, weigh_layers
from indexer.calibration.near_duplicates import PEERS, duplicate_groups
from indexer.domain.geometry import Frame
from indexer.domain.scoring_settings import ScoringSettings
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics, from_distances
from indexer.scoring.stored_frame import stored_frame
from indexer.search import PatchSearchEngine, best_similarities
from indexer.search.reverse_search import differences, max_similarity_at, reverse_similarities
from indexer.steps import run_to_end, shares_between

_ROWS_PER_STEP = 32  # references in one step of work: no more than one detection searches
_TOLERANCE = 1e-5  # of inner products, between one way of computing them and another
_MAX_CELL_SHARE = 0.05  # share of cells up to which they are searched singly
_MAX_MERGED = 4  # up to which they are merged one by one
PADDING = -1

Steps = Generator[float, None, "LeaveOneOut"]


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Leave-one-out search results of n references, for one K and ρ; independent of layer weights and region.

    ids: int64 (n,), ascending. groups: int64 (n,), the smallest id of the references that show the same part.
    candidates: int64 (n, c), the ids of the references that each was searched in, padded with −1. nearest: float32
    (n,), the largest global similarity among them. best: float32 (n, layers, cells), the largest inner products. peers:
    int64 (n, p), the ids that each was compared with pairwise, padded with −1; distances: float32 (n, p), their
    differences. Of a reference without any other, `nearest` and `best` are NaN. coreset: the id of the one that was
    searched instead of the candidates.
    """

    k: int
    rho: int
    ids: NDArray[np.int64]
    groups: NDArray[np.int64]
    candidates: NDArray[np.int64]
    nearest: NDArray[np.float32]
    best: NDArray[np.float32]
    peers: NDArray[np.int64]
    distances: NDArray[np.float32]
    coreset: int | None = None

    @property
    def duplicates(self) -> int:
        """References that show the same part as an earlier one."""
        return int(np.count_nonzero(self.groups != self.ids))

    def balance_layers(self, frame: Frame, settings: ScoringSettings) -> ScoringSettings:
        """The settings with layer weights that make every layer contribute equally to the distances between good parts.

        A layer's weight is one over the mean of its distances, over the inspected cells of one reference of every
        group: a layer in which good parts differ much counts for less. Rounded, so that ways of computing the same
        searches agree. Weights that the settings name stay; without two references that differ there are none.
        """
        counted = (self.groups == self.ids) & ~np.isnan(self.nearest)
        if settings.layer_weights is not None or not counted.any():
            return settings
        return weigh_layers(layer_distances(1.0 - self.best[counted], frame, settings), settings)

    def statistics(
        self, memory: MemoryBank, frame: Frame, settings: ScoringSettings
    ) -> Iterator[tuple[int, ImageStatistics]]:
        """Yield (reference id, statistics) for one reference of every group, the input of a calibration.

        frame: of an image that fits the category; letterboxed references are scored where they are.
        """
        for index, reference_id in enumerate(self.ids):
            if self.groups[index] == reference_id and not np.isnan(self.nearest[index]):
                features = memory.features_of(memory.row_of(int(reference_id)))
                distances, nearest = 1.0 - self.best[index], float(self.nearest[index])
                placed = stored_frame(features, frame, settings)
                yield int(reference_id), from_distances(distances, nearest, features, placed, settings)


def leave_one_out(
    memory: MemoryBank, engine: PatchSearchEngine, category: str, k: int, rho: int, before: LeaveOneOut | None = None
) -> Steps:
    """Search for each live reference of a category among the others, without its duplicates; yield the share done.

    before: the result for other references of the category, to be brought up to date. A maximum over candidates can be
    updated: an added reference is compared with those that have it among their K, and only cells whose maximum came
    from a removed one are searched again. Both together cost about two searches of one image for a change of one
    reference, and the retrieval of each reference's K. Without it, or under another K or ρ, every reference is searched
    for in full; so it is in a coreset, whatever was there before.

    Between two yields lies at most the work of one detection, so that detections are not delayed. Returns the result.
    """
    usable = before if before is not None and (before.k, before.rho) == (k, rho) else None
    work = _Work(memory, engine, category, k, rho, usable)
    yield from work.pair()
    yield from work.retrieve()
    yield from work.search()
    return work.result()


def as_in_coreset(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    searches: LeaveOneOut,
    index: int,
    rows: NDArray[np.int64],
    distances: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Distances of a reference to others as they would be to a coreset made without it: float32 (layers, cells), ≥ 0.

    index: of the reference among the searches; its distances stay where these were in no coreset. rows: of the others.
    distances: to them, under other conditions than those of the searches: they change as those under the same do. One
    detection's work.
    """
    if searches.coreset is None:
        return distances
    features = memory.features_of(memory.row_of(int(searches.ids[index])))
    change = best_similarities(engine, memory, features, rows, searches.rho) - searches.best[index]
    in_coreset: NDArray[np.float32] = np.maximum(distances + change, np.float32(0.0))
    return in_coreset


def calibrate(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    category: str,
    settings: ScoringSettings,
    progress: Callable[[float], object] = lambda _: None,
    balance: bool = False,
) -> Calibration:
    """A category's calibration, computed in one call. progress: called with the share done.

    balance: compute layer weights from the references unless the settings have them.
    """
    result = run_leave_one_out(memory, engine, category, settings, progress)
    frame = memory.frame(category)
    settings = result.balance_layers(frame, settings) if balance else settings
    statistics = (statistics_of for _, statistics_of in result.statistics(memory, frame, settings))
    return Calibration.from_statistics(
        category, memory.version, "", statistics, result.duplicates, layer_weights=settings.layer_weights
    )


def run_leave_one_out(
    memory: MemoryBank,
    engine: PatchSearchEngine,
    category: str,
    settings: ScoringSettings,
    progress: Callable[[float], object] = lambda _: None,
) -> LeaveOneOut:
    """The result of `leave_one_out` without an earlier result. progress: called with the share done."""
    return run_to_end(leave_one_out(memory, engine, category, settings.k, settings.rho), progress)


class _Work:
    """One leave-one-out search under way: `pair`, `retrieve` and `search` in turn, then `result`."""

    def __init__(
        self, memory: MemoryBank, engine: PatchSearchEngine, category: str, k: int, rho: int, before: LeaveOneOut | None
    ) -> None:
        self.memory, self.engine, self.category = memory, engine, category
        self.k, self.rho, self.before = k, rho, before
        rows = np.flatnonzero(memory.allowed_rows(category, (), memory.frame(category).grid))
        order = np.argsort(memory.ids[rows])
        self.rows: NDArray[np.int64] = rows[order]
        self.ids: NDArray[np.int64] = memory.ids[self.rows]
        self.position = {int(reference_id): index for index, reference_id in enumerate(self.ids)}
        self.grid = memory.frame(category).grid
        self.coreset = memory.searched_coreset(category, self.grid)
        shape = (len(self.ids), len(memory.space.layers), self.grid[0] * self.grid[1])
        self.best = np.full(shape, np.nan, np.float32)
        self.nearest = np.full(len(self.ids), np.nan, np.float32)
        self.candidates: list[NDArray[np.int64]] = []
        self.distances: dict[tuple[int, int], float] = {}
        self.groups: dict[int, int] = {}

    def pair(self) -> Iterator[float]:
        """Compare each reference with its most similar ones, and group those that show the same part."""
        known = {} if self.before is None else _known_distances(self.before)
        for index, row in enumerate(self.rows):
            reference_id = int(self.ids[index])
            near = self.memory.nearest_references(
                self._descriptor(row), PEERS, self.category, [int(row)], self.grid
            ).rows
            pairs = [(reference_id, int(self.memory.ids[other])) for other in near]
            unknown = [index_of_pair for index_of_pair, pair in enumerate(pairs) if pair not in known]
            if unknown:
                result = differences(self.memory, self.memory.features_of(int(row)), near[unknown].tolist(), self.rho)
                known |= zip([pairs[index_of_pair] for index_of_pair in unknown], result.tolist(), strict=True)
            self.distances |= {pair: known[pair] for pair in pairs}
            yield 0.2 * (index + 1) / len(self.rows)
        self.groups = duplicate_groups(self.ids.tolist(), self.distances)

    def retrieve(self) -> Iterator[float]:
        """Retrieve each reference's K nearest among the others, without its duplicates."""
        members: dict[int, list[int]] = {}
        for reference_id, group in self.groups.items():
            members.setdefault(group, []).append(int(self.rows[self.position[reference_id]]))
        for index, row in enumerate(self.rows):
            excluded = members[self.groups[int(self.ids[index])]]
            result = self.memory.nearest_references(self._descriptor(row), self.k, self.category, excluded, self.grid)
            self.candidates.append(self.memory.ids[result.rows])
            if len(result.rows):
                self.nearest[index] = result.similarities[0]
            yield 0.2 + 0.1 * (index + 1) / len(self.rows)

    def search(self) -> Iterator[float]:
        """Compute each reference's best inner products, incrementally where that is less work."""
        if self.coreset is not None:
            groups = np.array([self.groups[int(reference_id)] for reference_id in self.ids], np.int64)
            similarities = coreset_similarities(self.memory, self.coreset, self.rows, groups, self.rho)
            self.best = yield from shares_between(0.3, 1.0, similarities)
            self.best[np.isnan(self.nearest)] = np.nan
            return
        stored, removed, added = self._compare()
        whole = set(range(len(self.rows))) - stored.keys()
        outdated_cells = {index: np.zeros(self.best.shape[1:], np.bool_) for index in stored}
        steps = sum(-(-len(rows) // _ROWS_PER_STEP) for rows in (*removed.values(), *added.values()))
        total, done = max(1, steps + len(self.rows)), 0
        for index, stored_index in stored.items():
            assert self.before is not None
            self.best[index] = self.before.best[stored_index]
        for removed_id, indices in removed.items():
            row = self._row_of(removed_id)
            if row is None:  # its codes are gone: nobody can say what it decided
                whole |= set(indices)
                continue
            for part, result in self._reverse_search(row, indices):
                for index, match in zip(part, result, strict=True):
                    outdated_cells[index] |= match >= self.best[index] - _TOLERANCE
                done += 1
                yield 0.3 + 0.7 * done / total
        for added_id, indices in added.items():
            for part, result in self._reverse_search(int(self.rows[self.position[added_id]]), indices):
                self.best[part] = np.maximum(self.best[part], result)
                done += 1
                yield 0.3 + 0.7 * done / total
        for index in range(len(self.rows)):
            cells = outdated_cells.get(index)
            if index in whole or (cells is not None and cells.mean() > _MAX_CELL_SHARE):
                self._search_whole(index)
            elif cells is not None and cells.any():
                features = self.memory.features_of(int(self.rows[index]))
                self.best[index][cells] = max_similarity_at(
                    self.memory, features, self._candidate_rows(index), self.rho, cells
                )
            else:
                continue
            yield 0.3 + 0.7 * (done + index + 1) / total

    def result(self) -> LeaveOneOut:
        """The complete result."""
        peers: dict[int, list[tuple[int, float]]] = {int(reference_id): [] for reference_id in self.ids}
        for (reference_id, peer), distance in self.distances.items():
            peers[reference_id].append((peer, distance))
        return LeaveOneOut(
            self.k,
            self.rho,
            self.ids,
            np.array([self.groups[int(reference_id)] for reference_id in self.ids], np.int64),
            pad([candidates.tolist() for candidates in self.candidates]).astype(np.int64),
            self.nearest,
            self.best,
            pad([[peer for peer, _ in peers_of] for peers_of in peers.values()]).astype(np.int64),
            pad([[distance for _, distance in peers_of] for peers_of in peers.values()]).astype(np.float32),
            None if self.coreset is None else self.coreset.id,
        )

    def _compare(self) -> tuple[dict[int, int], dict[int, list[int]], dict[int, list[int]]]:
        """Reusable rows, as index → position in `before`; removed and added ids, as id → indices that they affect."""
        stored: dict[int, int] = {}
        removed: dict[int, list[int]] = {}
        added: dict[int, list[int]] = {}
        if self.before is None or self.before.coreset is not None:
            return stored, removed, added
        positions = {int(reference_id): position for position, reference_id in enumerate(self.before.ids)}
        for index, reference_id in enumerate(self.ids.tolist()):
            position = positions.get(reference_id)
            if position is None or np.isnan(self.before.nearest[position]) or not len(self.candidates[index]):
                continue
            old = set(self.before.candidates[position].tolist()) - {PADDING}
            new = set(self.candidates[index].tolist())
            if len(new - old) > _MAX_MERGED or len(old - new) > _MAX_MERGED:
                continue
            stored[index] = position
            for removed_id in old - new:
                removed.setdefault(removed_id, []).append(index)
            for added_id in new - old:
                added.setdefault(added_id, []).append(index)
        return stored, removed, added

    def _reverse_search(self, row: int, indices: list[int]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        features = self.memory.features_of(row)
        for start in range(0, len(indices), _ROWS_PER_STEP):
            part = indices[start : start + _ROWS_PER_STEP]
            yield part, reverse_similarities(self.memory, features, self.rows[part].tolist(), self.rho)

    def _search_whole(self, index: int) -> None:
        rows = self._candidate_rows(index)
        if len(rows):
            features = self.memory.features_of(int(self.rows[index]))
            self.best[index] = best_similarities(self.engine, self.memory, features, rows, self.rho)

    def _candidate_rows(self, index: int) -> NDArray[np.int64]:
        return self.rows[[self.position[int(candidate)] for candidate in self.candidates[index]]]

    def _row_of(self, reference_id: int) -> int | None:
        """The row of a reference, also when it is no longer live but not yet compacted away."""
        result = np.flatnonzero(self.memory.ids == reference_id)
        result = result[[self.memory.codes_table(int(row)).grid == self.grid for row in result]]
        return int(result[-1]) if len(result) else None  # the last one: earlier ones are of an earlier geometry

    def _descriptor(self, row: int) -> NDArray[np.float32]:
        return self.memory.global_index.descriptor(int(row))


def _known_distances(before: LeaveOneOut) -> dict[tuple[int, int], float]:
    return {
        (int(reference_id), int(peer)): float(distance)
        for reference_id, peers, distances in zip(before.ids, before.peers, before.distances, strict=True)
        for peer, distance in zip(peers, distances, strict=True)
        if peer != PADDING
    }


def pad(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Rows of different lengths as one array, padded with −1. Exact for ids below 2⁵³."""
    array = np.full((len(rows), max(map(len, rows), default=0)), PADDING, np.float64)
    for index, row in enumerate(rows):
        array[index, : len(row)] = row
    return array
