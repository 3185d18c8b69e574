"""Reads and encodes the images of a bulk job, here or, in `ray_encoding.py`, on a cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from indexer.cores import Cores
from indexer.domain.errors import OtherProportions
from indexer.domain.geometry import InputGeometry
from indexer.domain.reading import Reading
from indexer.encoders import Encoder, PreparedImage, prepare
from indexer.encoders.encode_images import encode_images
from indexer.imaging.decode import ImageLimits, ImageRejected, read_image
from indexer.imaging.encode import detect_suffix
from indexer.imaging.reading import read_pixels, reading_for
from indexer.memory import EncodedReferences
from indexer.memory.codec import Codec
from indexer.references.reference_store import ReferenceStore
from indexer.references.source_image import SourceImage
from indexer.screening.photo_quality import photo_quality_of
from indexer.text import MAX_FILENAME_LENGTH, readable

BATCH = 8  # images encoded at once


@dataclass(frozen=True)
class CategoryPlan:
    """The images of one category, and how they are inspected and read. number: of its folder."""

    number: int
    category: str
    paths: tuple[Path, ...]
    geometry: InputGeometry
    reading: Reading

    def batches(self) -> list[tuple[Path, ...]]:
        """The images that are encoded together."""
        return [self.paths[start : start + BATCH] for start in range(0, len(self.paths), BATCH)]


@dataclass(frozen=True)
class LoadedImage:
    """An image that was read, and is ready for the encoder."""

    path: Path
    original: SourceImage
    prepared: PreparedImage


@dataclass(frozen=True)
class EncodedImage:
    """An image that can become a reference. codes: of this image alone."""

    path: Path
    original: SourceImage
    codes: EncodedReferences


# None: it is a reference already. A text: why it cannot be used.
Loaded = LoadedImage | str | None
Encoded = EncodedImage | str | None


@dataclass(frozen=True)
class EncodedBatch:
    """What became of some images of a category."""

    plan: CategoryPlan
    images: tuple[tuple[Path, Encoded], ...]


class BulkEncoding(Protocol):
    """Encodes the images of a bulk job."""

    def encode(self, plans: Iterable[CategoryPlan], reference_store: ReferenceStore) -> Iterator[EncodedBatch]:
        """All images in order, in the reference store's codec; those of one category follow each other."""
        ...


@dataclass(frozen=True)
class ImageLoader:
    """Reads files and prepares them for an encoder. global_geometry: the memory's."""

    limits: ImageLimits
    global_geometry: InputGeometry

    def load(
        self, path: Path, geometry: InputGeometry, reading: Reading, is_reference: Callable[[str], bool]
    ) -> Loaded:
        """The image; None if it is a reference already, by its sha256 (hex); or why it cannot be used."""
        geometries = (geometry, self.global_geometry)
        try:
            data = path.read_bytes() if path.stat().st_size <= self.limits.max_bytes else b""
            digest = hashlib.sha256(data).hexdigest()
            if data and is_reference(digest):
                return None
            # Given a path, the decoder says what is wrong with its size.
            stored = read_image(data or path, self.limits, geometries, reading.stored_as)
            own_reading = reading_for(stored, reading)
            prepared = prepare(read_pixels(stored, own_reading, geometries), *geometries, stored.size)
        except ImageRejected as refused:
            return refused.detail
        except OtherProportions as error:
            return f"{error}.".capitalize()
        except OSError as error:
            return f"It cannot be read: {error.strerror or error}."
        width, height = stored.size
        quality = photo_quality_of(prepared.window, width, height)
        original = SourceImage(
            readable(path.name, MAX_FILENAME_LENGTH),
            data,
            digest,
            detect_suffix(data),
            width,
            height,
            quality,
            encoding=stored.encoding,
            reading=own_reading,
        )
        return LoadedImage(path, original, prepared)


def encode_loaded(
    encoder: Encoder, codec: Codec, images: Sequence[tuple[Path, Loaded]]
) -> tuple[tuple[Path, Encoded], ...]:
    """The images that were loaded, encoded together; the others as they are."""
    loaded = [image for _, image in images if isinstance(image, LoadedImage)]
    features = iter(encode_images(encoder, [image.prepared for image in loaded]) if loaded else ())
    return tuple(
        (path, EncodedImage(path, image.original, codec.encode(next(features))))
        if isinstance(image, LoadedImage)
        else (path, image)
        for path, image in images
    )


class LocalEncoding:
    """On all cores of this machine, or its GPU. decoders: threads that read and decode."""

    def __init__(self, encoder: Encoder, limits: ImageLimits, decoders: int) -> None:
        self._encoder, self._decoders = encoder, decoders
        self._loader = ImageLoader(limits, encoder.space.global_geometry)

    def encode(self, plans: Iterable[CategoryPlan], reference_store: ReferenceStore) -> Iterator[EncodedBatch]:
        """See `BulkEncoding.encode`."""
        codec = reference_store.memory.codec
        with Cores() as cores, ThreadPoolExecutor(self._decoders, thread_name_prefix="decode") as pool:
            on_cores = cores.encoding(self._encoder)
            for plan in plans:
                for batch in self._loaded_ahead(pool, plan, reference_store):
                    yield EncodedBatch(plan, encode_loaded(on_cores, codec, batch))

    def _loaded_ahead(
        self, pool: ThreadPoolExecutor, plan: CategoryPlan, reference_store: ReferenceStore
    ) -> Iterator[list[tuple[Path, Loaded]]]:
        """Batches of a category's images, each decoded while the one before is worked on."""

        def is_reference(digest: str) -> bool:
            return bool(reference_store.find_existing(plan.category, [digest]))

        def begin(paths: Sequence[Path]) -> list[tuple[Path, Future[Loaded]]]:
            return [
                (path, pool.submit(self._loader.load, path, plan.geometry, plan.reading, is_reference))
                for path in paths
            ]

        first, *others = plan.batches()
        ahead = begin(first)
        for paths in (*others, ()):
            batch, ahead = ahead, begin(paths)
            yield [(path, future.result()) for path, future in batch]
