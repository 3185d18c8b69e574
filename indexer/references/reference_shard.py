"""The codes of a shard of a category, searched for a snapshot that another process holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import ReferencesMoved
from indexer.domain.geometry import InputGeometry
from indexer.domain.snapshot import Shard
from indexer.encoders.base import FeatureSpace
from indexer.memory import MemoryBank
from indexer.references.snapshot_loader import SnapshotLoader
from indexer.search import BestMatch, PatchMatches, PatchQuery, PatchSearchEngine
from indexer.storage.coreset_store import CoresetStore
from indexer.storage.segment_store import SegmentStore


@dataclass(frozen=True)
class Coding:
    """What the codes of a reference follow from, besides its image: equal codings have equal codes.

    fingerprint: of the feature space. geometry: of the category.
    """

    fingerprint: str
    codec: str
    geometry: InputGeometry

    @classmethod
    def of(cls, memory: MemoryBank, category: str) -> Coding:
        """That of a category in a snapshot."""
        return cls(memory.space.fingerprint, memory.codec.name, memory.geometry_of(category))


@dataclass(frozen=True)
class ShardQuery:
    """The patch search of one image among some references of a category, by id.

    patches: float32 (layers, cells, dim), unit vectors. ids: int64 (k,), k ≥ 1. rho, weights: see `PatchQuery`.
    """

    coding: Coding
    patches: NDArray[np.float32]
    ids: NDArray[np.int64]
    rho: int
    weights: NDArray[np.float32]


class ReferenceShard:
    """Follows the catalogue when it is asked for what it lacks: a reference's codes never change while its coding is
    the same, so that it answers for older and newer snapshots alike. Removed references stay until the next change.

    One search at a time.
    """

    def __init__(self, folder: DataFolder, catalogue: Catalogue, shard: Shard, mmap_codes: bool | None = None) -> None:
        """Loads the shard. Raises ReferencesMoved before there is a memory, OSError and CatalogueError."""
        record = catalogue.memories.active()
        if record is None:
            raise ReferencesMoved("the data folder holds no memory yet")
        empty = MemoryBank.empty(FeatureSpace.from_json(record.space_json), record.codec, mapped=bool(mmap_codes))
        segments = SegmentStore(folder.root / "segments", folder.lock)
        self._category = shard.category
        coresets = CoresetStore(folder.root / "coresets", folder.lock)
        self._loader = SnapshotLoader(catalogue, segments, coresets, empty, record.id, mmap_codes, shard)
        self._loader.refresh()
        self._indexed = _IdIndex.of(self._loader.published.memory)

    def search(self, engine: PatchSearchEngine, query: ShardQuery) -> PatchMatches:
        """The query's matches; rows are positions in its ids. Raises ReferencesMoved when it lacks any of these."""
        rows = self._rows(query)
        if rows is None:
            self._indexed = _IdIndex.of(self._loader.refresh().memory)
            rows = self._rows(query)
        if rows is None:
            raise ReferencesMoved(f"references of {self._category!r} are not held as they were")
        patches = torch.from_numpy(query.patches)
        [matches] = engine.search(self._indexed.memory, [PatchQuery(patches, rows, query.rho, query.weights)])
        if matches.best_match is None:
            return matches
        order = np.argsort(rows)
        positions = order[np.searchsorted(rows[order], matches.best_match.rows)]
        match = BestMatch(positions, matches.best_match.cells)
        return PatchMatches(matches.similarities, matches.fused, match, matches.ranking)

    def _rows(self, query: ShardQuery) -> NDArray[np.int64] | None:
        same = Coding.of(self._indexed.memory, self._category) == query.coding
        return self._indexed.rows_of(query.ids) if same else None


@dataclass(frozen=True)
class _IdIndex:
    """A snapshot with its ids in order, int64 (rows,), and the rows that they have, newer ones of an id last."""

    memory: MemoryBank
    ids: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, memory: MemoryBank) -> _IdIndex:
        order = np.argsort(memory.ids, kind="stable")
        return cls(memory, memory.ids[order], order)

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The newest row of every id, None if it lacks one."""
        at = np.searchsorted(self.ids, ids, side="right") - 1
        return self.rows[at] if len(self.ids) and bool((self.ids[at] == ids).all()) else None
