"""Encodes references again from their stored images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from indexer.catalogue.data_folder import DataFolder
from indexer.cores import Cores
from indexer.domain.geometry import InputGeometry
from indexer.domain.reference import Reference
from indexer.encoders import Encoder, PreparedImage, Preprocessor
from indexer.encoders.encode_images import encode_batch
from indexer.imaging.decode import ImageLimits
from indexer.memory import Codec, EncodedReferences, join
from indexer.references.stored_image import prepare_stored
from indexer.storage.image_store import ImageStore

SEGMENT_ROWS = 64  # references to encode and store together: what a kill costs at most
_BATCH = 8  # images encoded at once


class ImagesUnreadable(Exception):
    """Stored images that are missing or damaged, so that they cannot be encoded again."""

    def __init__(self, references: Sequence[Reference]) -> None:
        super().__init__(f"{len(references)} kept images cannot be read")
        self.references = tuple(references)


@dataclass(frozen=True)
class Reencoded:
    """Some references. ids: those that were encoded, in the order of `codes`, None for none. unreadable: the others."""

    ids: tuple[int, ...]
    codes: EncodedReferences | None
    unreadable: tuple[Reference, ...]


class Reencoder:
    """Encodes the references of one data folder; images are decoded on the pool's threads."""

    def __init__(
        self, originals: ImageStore, encoder: Encoder, codec: Codec, limits: ImageLimits, pool: ThreadPoolExecutor
    ) -> None:
        self._originals = originals
        self._encoder = encoder
        self._codec = codec
        self._limits = limits
        self._pool = pool

    @classmethod
    @contextmanager
    def working(
        cls, folder: DataFolder, encoder: Encoder, codec: Codec, limits: ImageLimits, decoders: int
    ) -> Iterator[Reencoder]:
        """While open, it has so many threads to decode with, and all cores to encode with."""
        originals = ImageStore(folder.root / "originals", folder.lock)
        with Cores() as cores, ThreadPoolExecutor(decoders, thread_name_prefix="decode") as pool:
            yield cls(originals, cores.encoding(encoder), codec, limits, pool)

    def encode(
        self, references: Sequence[Reference], geometry: InputGeometry, advance: Callable[[int], None]
    ) -> Reencoded:
        """Encode references under a geometry. advance: told how many more were dealt with."""
        ids: list[int] = []
        parts: list[EncodedReferences] = []
        unreadable: list[Reference] = []
        ready: list[tuple[int, PreparedImage]] = []
        for reference, image in zip(
            references, self._pool.map(partial(self._prepared, geometry), references), strict=True
        ):
            if image is None:
                unreadable.append(reference)
            else:
                ready.append((reference.id, image))
            if ready and (len(ready) == _BATCH or reference is references[-1]):
                parts.append(self._codec.encode(encode_batch(self._encoder, [prepared for _, prepared in ready])))
                ids += [reference_id for reference_id, _ in ready]
                ready = []
            advance(1)
        return Reencoded(tuple(ids), join(parts) if parts else None, tuple(unreadable))

    def _prepared(self, geometry: InputGeometry, reference: Reference) -> PreparedImage | None:
        """The reference's image as the encoder takes it; None if it cannot be read."""
        preprocess = Preprocessor(self._encoder.space.global_geometry)
        return prepare_stored(reference, self._originals.read, self._limits, preprocess, geometry)
