"""Features of a data set's images: references kept on the disk between runs, samples encoded as they are judged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path

import torch

from indexer.domain.errors import CorruptSegmentError
from indexer.domain.geometry import InputGeometry
from indexer.domain.snapshot import SegmentFile
from indexer.encoders import Encoder, Features
from indexer.encoders.encode_images import encode_batch
from indexer.encoders.preprocessing import PreparedImage, prepare
from indexer.evaluation.dataset import DatasetError, Reference
from indexer.imaging.decode import ImageRejected, read_image
from indexer.memory import Codec, EncodedReferences, MemoryBank, join
from indexer.storage.lock import StoreLock
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_format import SegmentHeader
from indexer.storage.segment_store import SegmentStore

_BATCH = 8  # images encoded at once, or more where there are more cores
_CHUNK = 64  # references in one segment of the cache
_DECODERS = 2

Progress = Callable[[int], None]  # told how many more images are done


@dataclass(frozen=True)
class Loaded:
    """One image, ready for the encoder. sha256: hex, of the file."""

    path: Path
    sha256: str
    prepared: PreparedImage


def load_image(path: Path, geometry: InputGeometry, global_geometry: InputGeometry) -> Loaded:
    """Read, decode and prepare one image, as the service does. DatasetError when it cannot be used."""
    try:
        data = path.read_bytes()
        stored = read_image(data, geometries=(geometry, global_geometry))
        prepared = prepare(stored.rgb(), geometry, global_geometry, stored.size)
        return Loaded(path, hashlib.sha256(data).hexdigest(), prepared)
    except ImageRejected as refused:
        raise DatasetError(f"{path}: {refused.detail}") from refused
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def encoded_batches(encoder: Encoder, paths: Sequence[Path], geometry: InputGeometry) -> Iterator[Features]:
    """The features of all images in order, in batches. DatasetError for an image that cannot be used."""
    global_geometry = encoder.space.global_geometry
    size = max(_BATCH, torch.get_num_threads())
    with ThreadPoolExecutor(_DECODERS) as pool:

        def begin(start: int) -> list[Future[Loaded]]:
            return [pool.submit(load_image, path, geometry, global_geometry) for path in paths[start : start + size]]

        ahead = begin(0)
        for start in range(0, len(paths), size):
            batch, ahead = ahead, begin(start + size)  # decoded while this one is encoded and judged
            yield encode_batch(encoder, [loading.result().prepared for loading in batch])


def encoded_samples(encoder: Encoder, paths: Sequence[Path], geometry: InputGeometry) -> Iterator[Features]:
    """The features of each image in order, as batches of one. DatasetError for an image that cannot be used."""
    for batch in encoded_batches(encoder, paths, geometry):
        yield from (batch.item(index) for index in range(len(batch)))


class FeatureCache:
    """Encoded references by their image's sha256 and their geometry, for one feature space and codec.

    Segments are files of the product's own format; a line of `index.jsonl` names a segment, its checksum and whose
    features it holds. A line goes in after its segment is on the disk, so a kill loses at most the segment in work; a
    segment that fails its checksum is encoded anew.
    """

    def __init__(self, folder: Path, encoder: Encoder, codec_name: str) -> None:
        self._encoder = encoder
        self._codec = Codec.from_name(codec_name, encoder.space.dim)
        folder = folder / f"{encoder.space.fingerprint[:24]}-{codec_name}"
        self._lock = StoreLock(folder / "append.lock")
        self._segments = SegmentStore(folder / "segments", self._lock)
        self._index = folder / "index.jsonl"
        self._where: dict[str, tuple[SegmentFile, int]] = {}
        self._open: tuple[str, EncodedReferences] | None = None  # the segment read last
        self._indexed()
        for _ in OrphanDeleter(folder, self._lock, self._named, self._named).orphans("segments"):
            pass  # a segment that was in work when a run was killed

    def memory_of(
        self,
        references: Sequence[Reference],
        progress: Progress,
        geometries: Mapping[str, InputGeometry] | None = None,
    ) -> tuple[MemoryBank, tuple[str, ...]]:
        """A memory whose row r and id r is reference r, and every reference's sha256. DatasetError.

        geometries: by category; None inspects all as the encoder's space says.
        """
        empty = MemoryBank.empty(self._encoder.space, self._codec.name).with_geometries(geometries or {})
        memory = empty
        digests: list[str] = []
        for geometry, alike in groupby(references, lambda reference: empty.geometry_of(reference.category)):
            for chunk in _chunks(alike):
                encoded, file_digests = self._encoded([reference.path for reference in chunk], geometry, progress)
                rows = range(len(digests), len(digests) + len(chunk))
                memory = memory.with_references(
                    rows, [reference.category for reference in chunk], encoded, memory.version + 1
                )
                digests += file_digests
        return memory, tuple(digests)

    def _encoded(
        self, paths: Sequence[Path], geometry: InputGeometry, progress: Progress
    ) -> tuple[EncodedReferences, list[str]]:
        files = [_digest(path) for path in paths]
        suffix = "" if geometry == self._encoder.space.global_geometry else f" {geometry.to_json()}"
        digests = [digest + suffix for digest in files]
        cached = {digest: encoded for digest in digests if (encoded := self._stored(digest)) is not None}
        progress(sum(digest in cached for digest in digests))
        fresh = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in cached}
        if fresh:
            parts = []
            for features in encoded_samples(self._encoder, list(fresh.values()), geometry):
                parts.append(self._codec.encode(features))
                progress(1)
            self._store(list(fresh), join(parts))
            cached |= dict(zip(fresh, parts, strict=True))
            progress(sum(digest in fresh for digest in digests) - len(fresh))
        return join([cached[digest] for digest in digests]), files

    def _stored(self, digest: str) -> EncodedReferences | None:
        if digest not in self._where:
            return None
        segment, row = self._where[digest]
        if self._open is None or self._open[0] != segment.name:
            try:
                read = self._segments.read(segment.name, segment.sha256)
            except CorruptSegmentError:
                self._where = {
                    stored_digest: location
                    for stored_digest, location in self._where.items()
                    if location[0].name != segment.name
                }
                return None
            self._open = (
                segment.name,
                EncodedReferences(read.global_descriptors, read.codes, self._codec.name, read.header.grid),
            )
        return self._open[1].select([row])

    def _store(self, digests: Sequence[str], encoded: EncodedReferences) -> None:
        space = self._encoder.space
        header = SegmentHeader(
            space.fingerprint,
            self._codec.name,
            len(space.layers),
            *encoded.grid,
            self._codec.code_size,
            space.global_dim,
            len(encoded),
        )
        with self._lock.shared():
            segment = self._segments.write(encoded.global_descriptors, encoded.codes, header)
            # The line before may have been cut short by a kill: this one starts afresh.
            line = "\n" + json.dumps({"segment": asdict(segment), "images": list(digests)}) + "\n"
            with self._index.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        self._where |= {digest: (segment, row) for row, digest in enumerate(digests)}

    def _named(self, _: Sequence[str]) -> set[str]:
        """The files of all segments in the index, whoever wrote them."""
        self._indexed()
        return {f"segments/{segment.name}" for segment, _ in self._where.values()}

    def _indexed(self) -> None:
        """Read the index."""
        if not self._index.is_file():
            return
        for line in self._index.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                segment, images = SegmentFile(**entry["segment"]), list(entry["images"])
            except (ValueError, KeyError, TypeError):  # empty, cut short or damaged
                continue
            self._where |= {digest: (segment, row) for row, digest in enumerate(images)}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def _chunks(references: Iterable[Reference]) -> Iterator[list[Reference]]:
    remaining = iter(references)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
