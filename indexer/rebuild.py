"""Re-encodes every kept picture with another encoder into a new memory, and switches to it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from indexer.catalogue import Catalogue, MemoryIncomplete, MemoryRecord, Reference
from indexer.data_folder import DataFolder
from indexer.encoders import Encoder, prepare
from indexer.images import ImageLimits, ImageRefused, read_image
from indexer.library import write_segment
from indexer.memory import Codec, EncodedReferences, join
from indexer.reading import Reading
from indexer.store import OriginalStore, OriginalUnreadable, SegmentStore
from indexer.sweeping import Sweeper

_BATCH = 8  # pictures encoded at once
_SEGMENT = 64  # references placed together: what a kill costs at most


class NothingToRebuild(ValueError):
    """There is no memory yet, or it is of this encoder and codec already."""


class Unreadable(Exception):
    """Kept pictures that are gone or damaged, so that they cannot be encoded again. Nothing was switched."""

    def __init__(self, references: Sequence[Reference]) -> None:
        super().__init__(f"{len(references)} kept pictures cannot be read")
        self.references = tuple(references)


@dataclass(frozen=True)
class Rebuilt:
    """A finished rebuild.

    codec: of the new memory. dropped: references whose pictures could not be read, taken back. same_encoder: whether
    running services can go on with the new memory without being restarted.
    """

    version: int
    references: int
    codec: str
    dropped: tuple[Reference, ...]
    same_encoder: bool


class Rebuild:
    """One rebuild of a data folder. Detection goes on with the old memory until the switch, which is one transaction.

    A memory that a killed rebuild left unfinished is taken up again. References added meanwhile are encoded too.
    codec_name: None keeps the codec.
    """

    def __init__(self, folder: DataFolder, encoder: Encoder, codec_name: str | None) -> None:
        self._catalogue = Catalogue.open(folder.database)
        self._encoder = encoder
        self._files = folder.lock
        self._sweeper = Sweeper(folder.root, self._files, self._catalogue.files.named, self._catalogue.files.needed)
        self._segments = SegmentStore(folder.root / "segments", self._files)
        self._originals = OriginalStore(folder.root / "originals", self._files)
        try:
            self._old, self._new = self._memories(codec_name)
        except ValueError:
            self._catalogue.close()
            raise
        self._codec = Codec.named(self._new.codec, encoder.space.dim)

    def remaining(self) -> int:
        """References still to be encoded."""
        return self._catalogue.references.count_unplaced(self._new.id)

    def run(
        self, limits: ImageLimits, decoders: int, advance: Callable[[int], None], *, drop_unreadable: bool = False
    ) -> Rebuilt:
        """Encode what is left and switch. advance: told how many more pictures are done.

        drop_unreadable: take back references whose pictures are gone or damaged, instead of raising Unreadable. What
        was encoded is kept for the next run when it ends early, as by StorageFull.
        """
        dropped: list[Reference] = []
        with ThreadPoolExecutor(decoders, thread_name_prefix="decode") as pool:
            while True:
                unreadable = self._encode_rest(pool, limits, advance)
                if unreadable and not drop_unreadable:
                    raise Unreadable(unreadable)
                self._catalogue.references.remove([each.id for each in unreadable])
                dropped += unreadable
                try:
                    version = self._catalogue.memories.switch(self._new.id)
                    break
                except MemoryIncomplete:
                    continue  # references were added since: encode those too
        self._catalogue.memories.retire(self._old.id)
        for _ in self._sweeper.orphans("segments"):
            pass
        references = sum(category.references for category in self._catalogue.categories.all())
        same_encoder = self._old.fingerprint == self._new.fingerprint
        return Rebuilt(version, references, self._new.codec, tuple(dropped), same_encoder)

    def close(self) -> None:
        """Give back the database connections."""
        self._catalogue.close()

    def _memories(self, codec_name: str | None) -> tuple[MemoryRecord, MemoryRecord]:
        old, space = self._catalogue.memories.active(), self._encoder.space
        if old is None:
            raise NothingToRebuild("there is no memory in this data folder yet: there is nothing to encode again")
        codec = Codec.named(codec_name or old.codec, space.dim).name
        if (old.fingerprint, old.codec) == (space.fingerprint, codec):
            raise NothingToRebuild(f"the memory is of encoder {space.encoder} and codec {codec} already")
        return old, self._catalogue.memories.prepare(space.to_json(), space.fingerprint, codec)

    def _encode_rest(
        self, pool: ThreadPoolExecutor, limits: ImageLimits, advance: Callable[[int], None]
    ) -> list[Reference]:
        """Place every reference that is not in the new memory yet; returns those whose pictures cannot be read."""
        unreadable: list[Reference] = []
        after = 0
        while references := self._catalogue.references.unplaced(self._new.id, _SEGMENT, after):
            after = references[-1].id
            placed: list[int] = []
            parts: list[EncodedReferences] = []
            pictures = pool.map(lambda reference: self._prepared(reference, limits), references)
            ready: list[tuple[int, torch.Tensor]] = []
            for reference, picture in zip(references, pictures, strict=True):
                if picture is None:
                    unreadable.append(reference)
                else:
                    ready.append((reference.id, picture))
                if ready and (len(ready) == _BATCH or reference is references[-1]):
                    features = self._encoder.encode(torch.stack([each for _, each in ready]))
                    parts.append(self._codec.encode(features))
                    placed += [number for number, _ in ready]
                    ready = []
                advance(1)
            if placed:
                self._place(placed, join(parts))
        return unreadable

    def _place(self, ids: Sequence[int], encoded: EncodedReferences) -> None:
        with self._files.appending():
            segment = write_segment(self._segments, encoded, self._encoder.space)
            self._catalogue.memories.place(self._new.id, segment, {number: row for row, number in enumerate(ids)})

    def _prepared(self, reference: Reference, limits: ImageLimits) -> torch.Tensor | None:
        """The reference's picture as the encoder takes it, uint8 (3, crop, crop); None if it cannot be read."""
        try:
            data = self._originals.read(reference.image_sha256, reference.image_suffix)
            image = Reading.from_json(reference.reading).pixels(read_image(data, limits))
            return prepare(image, self._encoder.space.geometry)
        except (OriginalUnreadable, ImageRefused, OSError):
            return None
