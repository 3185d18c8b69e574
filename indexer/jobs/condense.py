"""Makes a category's coreset, calibrated, and lets searches use it from one version on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.calibration.serialisation import to_stored
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.coreset import CoresetContent, CoresetRecord, CoresetResult
from indexer.domain.errors import CategoryNotFound
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.snapshot import Shard
from indexer.encoders.base import FeatureSpace
from indexer.memory import MemoryBank
from indexer.memory.k_centre import choose_patches
from indexer.references.snapshot_loader import SnapshotLoader
from indexer.search import PatchSearchEngine
from indexer.steps import shares_between
from indexer.storage.coreset_store import CoresetStore
from indexer.storage.segment_store import SegmentStore


@dataclass(frozen=True)
class Condensed:
    """A coreset that can be put to use: its patches, and what references score in it.

    memory: the snapshot it was made from, as it will be. radii: by layer, see `CoresetResult`.
    """

    record: CoresetRecord
    memory: MemoryBank
    content: CoresetContent
    radii: tuple[float, ...]
    searched: LeaveOneOut


def category_snapshot(folder: DataFolder, catalogue: Catalogue, category: str) -> tuple[MemoryBank, int]:
    """The references of one category in the memory in use, mapped, and the memory's number. CategoryNotFound.

    CorruptSegmentError when references cannot be read: a coreset would not stand for them.
    """
    record = catalogue.memories.active()
    if record is None:
        raise CategoryNotFound(category)
    memory = MemoryBank.empty(FeatureSpace.from_json(record.space_json), record.codec, mapped=True)
    segments = SegmentStore(folder.root / "segments", folder.lock)
    coresets = CoresetStore(folder.root / "coresets", folder.lock)
    loader = SnapshotLoader(catalogue, segments, coresets, memory, record.id, True, Shard(category))
    published = loader.refresh(patience=0.0)
    for damage in published.corrupt_segments:
        raise damage
    return published.memory, record.id


def condense(
    record: CoresetRecord, memory: MemoryBank, engine: PatchSearchEngine, scoring: ScoringSettings
) -> Generator[float, None, Condensed]:
    """Choose the patches of a coreset that is asked for, and score the references in it; yield the share done.

    memory: a snapshot that holds the category's references. scoring: the category's, for its K and ρ. ValueError where
    nothing is saved.
    """
    category = record.category
    chosen = yield from shares_between(0.0, 0.5, choose_patches(memory, category, record.target))
    planned = memory.as_condensed(category, record.id, chosen.content)
    searches = leave_one_out(planned, engine, category, scoring.k, scoring.rho)
    searched = yield from shares_between(0.5, 1.0, searches)
    radii = tuple(float(radius) for radius in chosen.radii.max(axis=1))
    return Condensed(record, planned, chosen.content, radii, searched)


def put_to_use(folder: DataFolder, catalogue: Catalogue, memory_id: int, condensed: Condensed) -> CoresetResult:
    """Store a coreset and its calibration; every process searches it from then on.

    References added since it was begun are searched beside it. It is not used if one was removed. CoresetNotFound when
    it is not asked for any more, MemoryInactive after a rebuild, StorageFull.
    """
    record, content = condensed.record, condensed.content
    with folder.lock.shared():
        file = CoresetStore(folder.root / "coresets", folder.lock).write(content)
        result = CoresetResult(file, len(content.references), len(content.codes), condensed.radii)
        version = catalogue.coresets.finish(record.id, memory_id, result)
    catalogue.calibrations.store(record.category, memory_id, to_stored(version, condensed.searched))
    return result
