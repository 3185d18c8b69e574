"""Re-encodes all stored images into a new memory, then switches to it atomically."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import MemoryIncomplete
from indexer.domain.geometry import InputGeometry
from indexer.domain.geometry_choice import GeometryPolicy, commonest, refitted
from indexer.domain.reference import Reference
from indexer.domain.snapshot import MemoryRecord
from indexer.encoders import Encoder, FeatureSpace
from indexer.imaging.decode import ImageLimits
from indexer.jobs.reencoder import SEGMENT_ROWS, ImagesUnreadable, Reencoder
from indexer.memory import Codec
from indexer.references.segment_writer import write_segment
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_store import SegmentStore


class NothingToRebuild(ValueError):
    """There is no memory yet, or it is of this encoder and codec already."""


@dataclass(frozen=True)
class ReencodeReport:
    """A finished rebuild.

    codec: of the new memory. dropped: references whose images could not be read, taken back. same_encoder: whether
    running services can go on with the new memory without being restarted.
    """

    version: int
    references: int
    codec: str
    dropped: tuple[Reference, ...]
    same_encoder: bool


class ReencodeJob:
    """One rebuild of a data folder. Detection goes on with the old memory until the switch, which is one transaction.

    A memory that a killed rebuild left unfinished is continued. References added meanwhile are encoded too. codec_name:
    None keeps the codec. policy: of categories that had the old memory's own sizes; others keep theirs.
    NothingToRebuild when the memory is of this encoder and codec already.
    """

    def __init__(
        self,
        folder: DataFolder,
        catalogue: Catalogue,
        encoder: Encoder,
        codec_name: str | None,
        policy: GeometryPolicy | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._policy = policy or GeometryPolicy()
        self._encoder = encoder
        self._folder = folder
        self._files = folder.lock
        self._sweeper = OrphanDeleter(
            folder.root, self._files, catalogue.stored_files.named, catalogue.stored_files.needed
        )
        self._segments = SegmentStore(folder.root / "segments", self._files)
        self._old, self._new = self._memories(codec_name)
        self._codec = Codec.from_name(self._new.codec, encoder.space.dim)

    def remaining(self) -> int:
        """References still to be encoded."""
        return self._catalogue.references.count_unplaced(self._new.id)

    def run(
        self, limits: ImageLimits, decoders: int, advance: Callable[[int], None], *, drop_unreadable: bool = False
    ) -> ReencodeReport:
        """Encode what is left and switch. advance: told how many more images are done.

        drop_unreadable: remove references whose images are missing or damaged, instead of raising ImagesUnreadable.
        What was encoded is kept for the next run when it ends early, as by StorageFull.
        """
        dropped: list[Reference] = []
        with Reencoder.working(self._folder, self._encoder, self._codec, limits, decoders) as reencoder:
            while True:
                unreadable = self._encode_rest(reencoder, advance)
                if unreadable and not drop_unreadable:
                    raise ImagesUnreadable(unreadable)
                self._catalogue.references.remove([reference.id for reference in unreadable])
                dropped += unreadable
                try:
                    version = self._catalogue.memories.switch(self._new.id)
                    break
                except MemoryIncomplete:
                    continue  # references were added since: encode those too
        self._catalogue.memories.retire(self._old.id)
        for _ in self._sweeper.orphans("segments", "coresets"):
            pass
        references = sum(category.references for category in self._catalogue.categories.list())
        same_encoder = self._old.fingerprint == self._new.fingerprint
        return ReencodeReport(version, references, self._new.codec, tuple(dropped), same_encoder)

    def _memories(self, codec_name: str | None) -> tuple[MemoryRecord, MemoryRecord]:
        old, space = self._catalogue.memories.active(), self._encoder.space
        if old is None:
            raise NothingToRebuild("there is no memory in this data folder yet: there is nothing to encode again")
        codec = Codec.from_name(codec_name or old.codec, space.dim).name
        if (old.fingerprint, old.codec) == (space.fingerprint, codec):
            raise NothingToRebuild(f"the memory is of encoder {space.encoder} and codec {codec} already")
        return old, self._catalogue.memories.prepare(space.to_json(), space.fingerprint, codec)

    def _geometry_of(self, category: str) -> InputGeometry:
        """What a category gets in the new memory: what it has or is about to have, unless that was the memory's own."""
        old = FeatureSpace.from_json(self._old.space_json)
        patch = self._encoder.space.patch
        if self._policy.preset is not None and self._old.fingerprint != self._new.fingerprint:
            return self._policy.preset
        pending = {change.record.category: change.record for change in self._catalogue.geometries.changes(self._old.id)}
        if category in pending:
            return refitted(InputGeometry.from_json(pending[category].geometry_json), old.patch, patch)
        text = self._catalogue.geometries.active(self._old.id).get(category)
        geometry = old.global_geometry if text is None else InputGeometry.from_json(text)
        if geometry != old.global_geometry or self._old.fingerprint == self._new.fingerprint:
            return refitted(geometry, old.patch, patch)
        sizes = self._catalogue.references.sizes(category)
        return self._policy.of_new(commonest(sizes) or geometry.resized, patch)

    def _encode_rest(self, reencoder: Reencoder, advance: Callable[[int], None]) -> list[Reference]:
        """Place every reference that is not in the new memory yet; returns those whose images cannot be read."""
        unreadable: list[Reference] = []
        for category in self._catalogue.categories.list():
            geometry = self._geometry_of(category.name)
            record = self._catalogue.geometries.ensure(self._new.id, category.name, geometry.to_json())
            geometry = InputGeometry.from_json(record.geometry_json)
            after = 0
            while references := self._catalogue.references.not_encoded(category.name, record.id, SEGMENT_ROWS, after):
                after = references[-1].id
                done = reencoder.encode(references, geometry, advance)
                unreadable += done.unreadable
                if done.codes is not None:
                    with self._files.shared():
                        segment = write_segment(self._segments, done.codes, self._encoder.space)
                        rows = {reference_id: row for row, reference_id in enumerate(done.ids)}
                        self._catalogue.geometries.place(record.id, segment, rows)
        return unreadable
