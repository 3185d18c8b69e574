"""Re-encodes the references of corrupt segments."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import CorruptSegmentError, FeatureSpaceMismatch
from indexer.domain.geometry import InputGeometry
from indexer.domain.reference import Reference
from indexer.domain.snapshot import PlacedReference, SegmentRows
from indexer.encoders import Encoder, FeatureSpace
from indexer.imaging.decode import ImageLimits
from indexer.jobs.reencoder import SEGMENT_ROWS, ImagesUnreadable, Reencoder
from indexer.memory import Codec
from indexer.references.segment_writer import write_segment
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_store import SegmentStore


@dataclass(frozen=True)
class RepairReport:
    """What a repair did. references: how many are served again. dropped: those that were taken back instead."""

    references: int
    dropped: tuple[Reference, ...]


class RepairJob:
    """One repair of the memory being served. Detection goes on with what is whole.

    A killed repair is continued by the next. FeatureSpaceMismatch when the memory is of another encoder.
    """

    def __init__(self, folder: DataFolder, catalogue: Catalogue, encoder: Encoder) -> None:
        memory = catalogue.memories.active()
        if memory is None or memory.fingerprint != encoder.space.fingerprint:
            made_by = "nothing" if memory is None else FeatureSpace.from_json(memory.space_json).encoder
            raise FeatureSpaceMismatch(
                f"the memory in {folder.root} was made by {made_by}, not by {encoder.space.encoder} with these sizes "
                "and layers: give its own encoder"
            )
        self._folder = folder
        self._catalogue = catalogue
        self._encoder = encoder
        self._memory = memory
        self._files = folder.lock
        self._segments = SegmentStore(folder.root / "segments", self._files)

    def damaged(self, progress: Callable[[int, int], None]) -> tuple[SegmentRows, ...]:
        """Read every segment that live references lie in; returns those that fail. progress: read, in all."""
        damaged = []
        segments = self._catalogue.segments.changes_since(0, self._memory.id).added
        for index, segment_rows in enumerate(segments):
            progress(index, len(segments))
            try:
                self._segments.read(segment_rows.segment.name, segment_rows.segment.sha256)
            except (CorruptSegmentError, OSError):
                damaged.append(segment_rows)
        progress(len(segments), len(segments))
        return tuple(damaged)

    def run(
        self,
        damaged: tuple[SegmentRows, ...],
        limits: ImageLimits,
        decoders: int,
        advance: Callable[[int], None],
        *,
        drop_unreadable: bool = False,
    ) -> RepairReport:
        """Encode the references of these segments. advance: told how many more were dealt with.

        Unreadable, at the end, when the images of some cannot be read: the others are mended, and these still lack
        their segment. drop_unreadable: take such back instead.
        """
        codec = Codec.from_name(self._memory.codec, self._encoder.space.dim)
        mended = 0
        unreadable: list[Reference] = []
        geometries = self._catalogue.geometries.active(self._memory.id)
        batches = [
            [row.reference_id for row in rows[start : start + SEGMENT_ROWS]]
            for segment_rows in damaged
            for _, grouped in itertools.groupby(sorted(segment_rows.rows, key=_category), _category)
            for rows in [list(grouped)]
            for start in range(0, len(rows), SEGMENT_ROWS)
        ]
        with Reencoder.working(self._folder, self._encoder, codec, limits, decoders) as reencoder:
            for ids in batches:
                references = [self._catalogue.references.get(id_) for id_ in ids]
                geometry = InputGeometry.from_json(geometries[references[0].category])
                done = reencoder.encode(references, geometry, advance)
                if done.codes is not None:
                    with self._files.shared():
                        segment = write_segment(self._segments, done.codes, self._encoder.space)
                        rows = {reference_id: row for row, reference_id in enumerate(done.ids)}
                        self._catalogue.segments.move(self._memory.id, segment, rows)
                mended += len(done.ids)
                unreadable += done.unreadable
        if drop_unreadable:
            self._catalogue.references.remove([reference.id for reference in unreadable])
        self._let_go({segment_rows.segment.name for segment_rows in damaged})
        if unreadable and not drop_unreadable:
            raise ImagesUnreadable(unreadable)
        return RepairReport(mended, tuple(unreadable))

    def _let_go(self, damaged: set[str]) -> None:
        """Delete those of the damaged segments that no live reference lies in any more."""
        usages = self._catalogue.segments.of(self._memory.id)
        empty = [usage.segment.name for usage in usages if usage.segment.name in damaged and not usage.live]
        if empty:
            self._catalogue.segments.replace(self._memory.id, empty, None, {})
        files = self._catalogue.stored_files
        for _ in OrphanDeleter(self._folder.root, self._files, files.named, files.needed).orphans("segments"):
            pass


def _category(placed: PlacedReference) -> str:
    return placed.category
