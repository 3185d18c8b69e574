"""Encodes a category's stored images under another geometry, then switches to it atomically."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import MemoryIncomplete
from indexer.domain.geometry import InputGeometry
from indexer.domain.leave_one_out import StoredCalibration
from indexer.domain.reference import Reference
from indexer.domain.snapshot import GeometryRecord
from indexer.encoders import FeatureSpace
from indexer.jobs.reencoder import ImagesUnreadable, Reencoded
from indexer.memory import Codec, MemoryBank
from indexer.references.segment_writer import write_segment
from indexer.references.snapshot_loader import read_rows
from indexer.storage.segment_store import SegmentStore

Encode = Callable[[Sequence[Reference], InputGeometry], Reencoded]

_MAX_BATCH = 16  # references encoded and stored together: what a kill costs at most
_MAX_BATCH_CELLS = 50_000


class Stopped(Exception):
    """The job was asked to end; what was encoded stays for the next."""


@dataclass(frozen=True)
class GeometryChangeReport:
    """A finished change. version: the first snapshot under the new geometry. dropped: removed as unreadable."""

    version: int
    references: int
    dropped: tuple[Reference, ...]


class GeometryChangeJob:
    """One change of a category's geometry, begun with `Geometries.prepare`. Detection goes on under the earlier one.

    A change that a killed job left unfinished is continued. References added meanwhile are encoded too.
    """

    def __init__(
        self, folder: DataFolder, catalogue: Catalogue, space: FeatureSpace, codec: Codec, record: GeometryRecord
    ) -> None:
        self._catalogue = catalogue
        self._files = folder.lock
        self._segments = SegmentStore(folder.root / "segments", folder.lock)
        self._space = space
        self._codec = codec
        self._record = record
        self._geometry = InputGeometry.from_json(record.geometry_json)

    def run(
        self,
        encode: Encode,
        *,
        calibrate: Callable[[MemoryBank], StoredCalibration],
        stopping: Callable[[], bool] = lambda: False,
        drop_unreadable: bool = False,
    ) -> GeometryChangeReport:
        """Encode what is left and switch.

        encode: encodes some references under a geometry. calibrate: once all are encoded, makes the category's
        calibration of them, which is kept with the switch. stopping: asked between batches; Stopped then.
        drop_unreadable: remove references whose images are missing or damaged, instead of raising ImagesUnreadable.
        GeometryNotFound when the change was given up meanwhile, CategoryNotFound when the category was removed.
        """
        dropped: list[Reference] = []
        while True:
            unreadable = self._encode_rest(encode, stopping)
            if unreadable and not drop_unreadable:
                raise ImagesUnreadable(unreadable)
            self._catalogue.references.remove([reference.id for reference in unreadable])
            dropped += unreadable
            try:
                memory = self._memory()
                calibration = calibrate(memory) if len(memory) else None
                version = self._catalogue.geometries.activate(self._record.id, calibration)
                break
            except MemoryIncomplete:
                continue  # references were added since: encode those too
        references = self._catalogue.categories.get(self._record.category).references
        return GeometryChangeReport(version, references, tuple(dropped))

    def _memory(self) -> MemoryBank:
        """The references as they are encoded so far, in a memory of their own, beside the one being served."""
        memory = MemoryBank.empty(self._space, self._codec.name)
        memory = memory.with_geometries({self._record.category: self._geometry})
        for segment in self._catalogue.geometries.segments(self._record.id):
            ids = [row.reference_id for row in segment.rows]
            encoded = read_rows(self._segments, segment, memory)
            memory = memory.with_references(ids, [self._record.category] * len(ids), encoded, 0)
        return memory

    def _encode_rest(self, encode: Encode, stopping: Callable[[], bool]) -> list[Reference]:
        """Place every reference that is not encoded yet; returns those whose images cannot be read."""
        rows, columns = self._geometry.grid(self._space.patch)
        batch = max(1, min(_MAX_BATCH, _MAX_BATCH_CELLS // (rows * columns)))
        unreadable: list[Reference] = []
        after = 0
        while references := self._catalogue.references.not_encoded(
            self._record.category, self._record.id, batch, after
        ):
            if stopping():
                raise Stopped
            after = references[-1].id
            done = encode(references, self._geometry)
            unreadable += done.unreadable
            if done.codes is not None:
                with self._files.shared():
                    segment = write_segment(self._segments, done.codes, self._space)
                    placed = {reference_id: row for row, reference_id in enumerate(done.ids)}
                    self._catalogue.geometries.place(self._record.id, segment, placed)
        return unreadable
