"""Adds and removes the references of one data folder, in the order that survives a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.category import Category, SettingsChanges
from indexer.domain.errors import (
    CatalogueError,
    CorruptSegmentError,
    FeatureSpaceMismatch,
    MemoryInactive,
    NotEncoded,
)
from indexer.domain.geometry import InputGeometry
from indexer.domain.inspection import DefectDetails, Inspection
from indexer.domain.snapshot import SegmentFile
from indexer.domain.stored_file import original_path
from indexer.encoders.base import FeatureSpace
from indexer.memory import DEFAULT_CODEC, EncodedReferences, MemoryBank, join
from indexer.references.compaction import Compactor
from indexer.references.segment_writer import write_segment
from indexer.references.snapshot_loader import PublishedState, SnapshotLoader
from indexer.references.source_image import SourceImage, to_new_reference
from indexer.storage.coreset_store import CoresetStore
from indexer.storage.image_store import ImageStore
from indexer.storage.lock import StoreLock
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_store import SegmentStore

log = logging.getLogger("touchstone")


@dataclass(frozen=True)
class AddOutcome:
    """What became of one image: its own reference, or the one that already holds the same bytes."""

    filename: str
    status: Literal["added", "duplicate"]
    reference_id: int


@dataclass(frozen=True)
class AddResult:
    """A committed addition; `version` is the first snapshot that holds everything named here."""

    version: int
    outcomes: tuple[AddOutcome, ...]


class ReferenceStore:
    """Durable references and the newest snapshot of their memory. Safe to use from several threads and processes.

    An addition is on the disk (segment, image), then in the catalogue (one transaction), then in the snapshot, in
    that order, and acknowledged last. What other processes commit to the same folder arrives by `refresh`.
    """

    def __init__(
        self,
        folder: DataFolder,
        catalogue: Catalogue,
        memory: MemoryBank,
        memory_id: int,
        mmap_codes: bool | None = None,
    ) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self._files = folder.lock
        self._orphans = OrphanDeleter(
            folder.root, self._files, catalogue.stored_files.named, catalogue.stored_files.needed
        )
        self._segments = SegmentStore(folder.root / "segments", self._files)
        self._originals = ImageStore(folder.root / "originals", self._files)
        self._coresets = CoresetStore(folder.root / "coresets", self._files)
        self._loader = SnapshotLoader(catalogue, self._segments, self._coresets, memory, memory_id, mmap_codes)
        self._compactor = Compactor(catalogue, self._segments, self._loader, self._files, self._orphans)

    @classmethod
    def open(
        cls,
        data: Path,
        space: FeatureSpace,
        *,
        codec: str | None = None,
        database_url: str | None = None,
        mmap_codes: bool | None = None,
    ) -> ReferenceStore:
        """Open or create a data folder, delete the segments that a crash left behind, and load every segment.

        codec: how patches are stored; None for whatever the folder has, fp16 in a new one. database_url: None keeps the
        catalogue in the folder, as SQLite. mmap_codes: search patches in mapped segments, which are verified later,
        rather than in memory; None where they take more than half of it. Segments that fail their check are named in
        `corrupt_segments` and not served.
        FeatureSpaceMismatch when the folder was made with another encoder or codec; SchemaMismatch from the catalogue;
        CatalogueMismatch when that is of another folder; BeingRestored.
        """
        folder = DataFolder.created(data, database_url)
        catalogue = Catalogue.of(folder)
        record = catalogue.memories.ensure(space.to_json(), space.fingerprint, codec or DEFAULT_CODEC)
        if record.fingerprint != space.fingerprint:
            stored_space = FeatureSpace.from_json(record.space_json)
            if stored_space.encoder == space.encoder and stored_space.global_geometry != space.global_geometry:
                raise FeatureSpaceMismatch(
                    f"the memory in {data} looks at {stored_space.global_geometry.described}, not "
                    f"{space.global_geometry.described}: set no sizes, or run `touchstone rebuild`"
                )
            raise FeatureSpaceMismatch(
                f"the memory in {data} was made by encoder {stored_space.encoder} ({record.fingerprint[:12]}), not by "
                f"{space.encoder} ({space.fingerprint[:12]}): start with that encoder, or run `touchstone rebuild`"
            )
        if codec not in (None, record.codec):
            raise FeatureSpaceMismatch(
                f"the memory in {data} holds {record.codec} codes, not {codec}: "
                f"leave the codec unset or set it to {record.codec}, or run `touchstone rebuild`"
            )
        empty = MemoryBank.empty(space, record.codec, mapped=bool(mmap_codes))
        reference_store = cls(folder, catalogue, empty, record.id, mmap_codes)
        for _ in reference_store._orphans.orphans("segments", "coresets"):
            pass  # images may be many: pruning looks for those, in the background
        reference_store._loader.refresh(patience=0.0)
        return reference_store

    def close(self) -> None:
        """Give back the database connections."""
        self.catalogue.close()

    @property
    def published(self) -> PublishedState:
        """The newest snapshot that this process has loaded, with its settings: what detection uses."""
        return self._loader.published

    @property
    def memory(self) -> MemoryBank:
        """The newest snapshot this process knows."""
        return self.published.memory

    @property
    def memory_id(self) -> int:
        """The catalogue's number of the memory being served."""
        return self.published.memory_id

    @property
    def corrupt_segments(self) -> tuple[CorruptSegmentError, ...]:
        """Segments that failed their check and are not served."""
        return self.published.corrupt_segments

    def find_existing(self, category: str, digests: Collection[str]) -> dict[str, int]:
        """Which of these images (sha256) are live references of the category already, with their ids."""
        return self.catalogue.references.live_digests(category, digests)

    def geometry_of(self, category: str) -> InputGeometry:
        """The geometry that images of a category are encoded under; of one that there is not, the memory's own."""
        return self.memory.geometry_of(category)

    def add(
        self,
        category: str,
        originals: Sequence[SourceImage],
        encoded: Mapping[str, EncodedReferences],
        geometry: InputGeometry | None = None,
    ) -> AddResult:
        """Make images references of a category, together.

        encoded: by sha256, one reference each in the memory's codec; an image that is a live reference already
        (`find_existing`) may be left out: NotEncoded, and nothing was added, when it was removed since. Returns after
        the commit, with the snapshot published. An image that is a reference, or comes twice, is a duplicate: adding it
        again changes nothing. StorageFull when the disk is full, MemoryInactive when the folder has been switched to a
        memory that these do not fit, GeometryInactive when the category has another geometry by now; then nothing was
        added. geometry: that they were encoded under, which a new category has from now on; None for `geometry_of`.
        """
        published = self.published
        geometry = geometry or self.geometry_of(category)
        existing = self.find_existing(category, [original.sha256 for original in originals])
        fresh = {source.sha256: source for source in originals if source.sha256 not in existing}
        missing = fresh.keys() - encoded.keys()
        if missing:
            raise NotEncoded(f"{len(missing)} new images came without their features")
        ids, version, added = dict(existing), published.memory.version, set[str]()
        if fresh:
            if any(encoded[sha256].codec != published.memory.codec.name for sha256 in fresh):
                raise MemoryInactive("this data folder has switched to another codec: encode the images again")
            with self._written(published, fresh.values(), join([encoded[sha256] for sha256 in fresh])) as segment:
                references = [to_new_reference(image) for image in fresh.values()]
                appended = self.catalogue.references.append(
                    category, segment, references, published.memory_id, geometry.to_json()
                )
            ids |= dict(zip(fresh, appended.reference_ids, strict=True))
            # Another process may have added some of them since we asked.
            added = {sha256 for row, sha256 in enumerate(fresh) if row not in appended.duplicates}
            version = appended.version
            self._follow()
        outcomes = []
        for original in originals:
            status: Literal["added", "duplicate"] = "added" if original.sha256 in added else "duplicate"
            added.discard(original.sha256)
            outcomes.append(AddOutcome(original.filename, status, ids[original.sha256]))
        return AddResult(version, tuple(outcomes))

    def promote(
        self,
        inspection_id: str,
        original: SourceImage,
        encoded: EncodedReferences,
        geometry: InputGeometry,
        confirmed: Sequence[str] = (),
    ) -> Inspection:
        """Call an inspected part good and make its image a reference: see `Inspections.promote`.

        encoded: the image as one reference, under its category's geometry. Raises StorageFull, and as
        `Inspections.promote`.
        """
        published = self.published
        if encoded.codec != published.memory.codec.name:
            raise MemoryInactive("this data folder has switched to another codec: encode the image again")
        with self._written(published, [original], encoded) as segment:
            reference = replace(to_new_reference(original), inspection_id=inspection_id)
            promoted = self.catalogue.inspections.promote(
                inspection_id, segment, reference, published.memory_id, geometry.to_json(), confirmed
            )
        self._follow()
        return promoted

    def set_label(
        self, inspection_id: str, label: Literal["defect"] | None, details: DefectDetails | None = None
    ) -> Inspection:
        """Set or remove an inspection's label: see `Inspections.set_label`."""
        judged = self.catalogue.inspections.set_label(inspection_id, label, details)
        self._follow()
        return judged

    def propose(self, inspection_id: str) -> Inspection:
        """Label an inspection good, for review: see `Inspections.propose`."""
        proposed = self.catalogue.review.propose(inspection_id)
        self._follow()
        return proposed

    def reopen(self, inspection_id: str) -> Inspection:
        """Put an inspection back into the review queue: see `Inspections.reopen`."""
        reopened = self.catalogue.review.reopen(inspection_id)
        self._follow()
        return reopened

    def remove(self, reference_ids: Collection[int]) -> int:
        """Remove references, durably; returns a version without them. Those that are not live are ignored."""
        version = self.catalogue.references.remove(reference_ids).version
        self._follow()
        return version

    def remove_category(self, name: str) -> int:
        """Remove a category with all its references; returns a version without it. CategoryNotFound."""
        version = self.catalogue.categories.remove(name).version
        self._follow()
        return version

    def restore_category(self, name: str) -> None:
        """Make a removed category one again; its references are restored as images. CategoryNotFound."""
        self.catalogue.categories.restore(name)
        self._follow()

    def change_settings(self, name: str, changes: SettingsChanges) -> Category:
        """Change some settings of a category. CategoryNotFound, and ValueError for values out of range."""
        changed = self.catalogue.categories.update_settings(name, changes)
        self._follow()
        return changed

    def refresh(self) -> MemoryBank:
        """Bring the snapshot up to what any process has committed, and return it: see `SnapshotLoader.refresh`."""
        return self._loader.refresh().memory

    def verify_mapped(self, pause: Callable[[], object]) -> None:
        """Verify mapped segments that have not been yet: see `SnapshotLoader.verify_mapped`."""
        self._loader.verify_mapped(pause)

    def reload_damaged(self) -> None:
        """Serve damaged segments that have been restored meanwhile: see `SnapshotLoader.reload_damaged`."""
        self._loader.reload_damaged()

    def _follow(self) -> None:
        """Publish what was just committed. It stays committed when that fails, and a later refresh publishes it."""
        try:
            self._loader.refresh(adopt=False)
        except (CatalogueError, OSError, MemoryError) as error:
            log.warning("a change is committed but not published yet: %s", error)

    def store_image(self, data: bytes, suffix: str) -> str:
        """Keep an inspected image's bytes until nothing names them any more; returns their sha256 (hex).

        They are deleted some time unless an inspection or a reference names them by then: hold `shared()`. StorageFull.
        """
        return self._originals.write(data, suffix)

    def read_original(self, sha256: str, suffix: str) -> bytes:
        """The bytes of a stored image. OriginalUnreadable if they are missing or damaged."""
        return self._originals.read(sha256, suffix)

    @property
    def files(self) -> StoreLock:
        """The lock to hold (`shared()`) while files await the transaction that names them."""
        return self._files

    def compact(self) -> int:
        """Rewrite small or partly removed segments into full ones: see `Compactor.compact`."""
        return self._compactor.compact()

    def compact_if_needed(self) -> int:
        """Compact once many segments are small or partly removed: see `Compactor.compact_if_needed`."""
        return self._compactor.compact_if_needed()

    @contextmanager
    def _written(
        self, published: PublishedState, originals: Collection[SourceImage], encoded: EncodedReferences
    ) -> Iterator[SegmentFile]:
        """Write images and their segment; the block commits them. If it fails, what nothing needs is given back."""
        written: list[str] = []
        try:
            with self._files.shared():
                for original in originals:
                    written.append(original_path(original.sha256, original.suffix))
                    self._originals.write(original.data, original.suffix)
                segment = write_segment(self._segments, encoded, published.memory.space)
                written.append(f"segments/{segment.name}")
                yield segment
        except Exception:
            self._orphans.delete_if_possible(written)
            raise
