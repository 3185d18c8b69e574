"""Features of a data set's references, kept on the disk between runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, groupby, islice, tee
from pathlib import Path

from indexer.domain.errors import CorruptSegmentError
from indexer.domain.geometry import InputGeometry
from indexer.domain.snapshot import SegmentFile
from indexer.encoders import Features
from indexer.evaluation.dataset import DatasetError, Reference
from indexer.evaluation.encoding import ImageEncoding, ImageGroup, of_each_image
from indexer.memory import Codec, EncodedReferences, MemoryBank, join
from indexer.storage.lock import StoreLock
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_format import SegmentHeader
from indexer.storage.segment_store import SegmentStore

_CHUNK = 64  # references in one segment of the cache

Progress = Callable[[int], None]  # told how many more images are done


@dataclass(frozen=True)
class _Chunk:
    """References of one geometry that the cache stores in one segment.

    digests: sha256 of their files. keys: the name of each in the cache. fresh: the path of each that is neither there
    nor in a chunk before, by its key.
    """

    references: list[Reference]
    geometry: InputGeometry
    digests: list[str]
    keys: list[str]
    fresh: dict[str, Path]

    def fresh_images(self) -> ImageGroup:
        """What is to be encoded."""
        return ImageGroup(tuple(self.fresh.values()), self.geometry)


class FeatureCache:
    """Encoded references by their image's sha256 and their geometry, for one feature space and codec.

    Segments are files of the product's own format; a line of `index.jsonl` names a segment, its checksum and whose
    features it holds. A line goes in after its segment is on the disk, so a kill loses at most the segment in work; a
    segment that fails its checksum is encoded anew.
    """

    def __init__(self, folder: Path, encoding: ImageEncoding, codec_name: str) -> None:
        self._encoding = encoding
        self._codec = Codec.from_name(codec_name, encoding.space.dim)
        folder = folder / f"{encoding.space.fingerprint[:24]}-{codec_name}"
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
        """A memory whose row r and id r is reference r, and every reference's sha256. DatasetError, ClusterError.

        geometries: by category; None inspects all as the encoder's space says.
        """
        memory = MemoryBank.empty(self._encoding.space, self._codec.name).with_geometries(geometries or {})
        digests: list[str] = []
        # Each chunk is looked at twice: by what is to encode it, as early as that likes, and when it is its turn.
        to_encode, to_add = tee(self._chunks(references, memory))
        ahead = self._images(chunk.fresh_images() for chunk in to_encode if chunk.fresh)
        for chunk in to_add:
            encoded = self._encoded(chunk, ahead, progress)
            rows = range(len(digests), len(digests) + len(chunk.references))
            categories = [reference.category for reference in chunk.references]
            memory = memory.with_references(rows, categories, encoded, memory.version + 1)
            digests += chunk.digests
        return memory, tuple(digests)

    def _chunks(self, references: Sequence[Reference], empty: MemoryBank) -> Iterator[_Chunk]:
        planned = set[str]()
        for geometry, alike in groupby(references, lambda reference: empty.geometry_of(reference.category)):
            suffix = "" if geometry == self._encoding.space.global_geometry else f" {geometry.to_json()}"
            remaining = iter(alike)
            while chunk := list(islice(remaining, _CHUNK)):
                digests = [_digest(reference.path) for reference in chunk]
                keys = [digest + suffix for digest in digests]
                fresh = {
                    key: reference.path
                    for key, reference in zip(keys, chunk, strict=True)
                    if key not in self._where and key not in planned
                }
                planned |= fresh.keys()
                yield _Chunk(chunk, geometry, digests, keys, fresh)

    def _images(self, groups: Iterable[ImageGroup]) -> Iterator[Features]:
        return of_each_image(self._encoding.features(groups))

    def _encoded(self, chunk: _Chunk, ahead: Iterator[Features], progress: Progress) -> EncodedReferences:
        """ahead: the features of what is fresh, in this chunk and those after it."""
        known = dict.fromkeys(key for key in chunk.keys if key not in chunk.fresh)
        encoded = {key: stored for key in known if (stored := self._stored(key)) is not None}
        progress(sum(key in encoded for key in chunk.keys))
        paths = dict(zip(chunk.keys, (reference.path for reference in chunk.references), strict=True))
        lost = {key: paths[key] for key in known if key not in encoded}  # in a damaged segment
        reencoded = self._images([ImageGroup(tuple(lost.values()), chunk.geometry)]) if lost else iter(())
        missing = [*chunk.fresh, *lost]
        for key, features in zip(missing, chain(islice(ahead, len(chunk.fresh)), reencoded), strict=True):
            encoded[key] = self._codec.encode(features)
            progress(chunk.keys.count(key))
        if missing:
            self._store(missing, join([encoded[key] for key in missing]))
        return join([encoded[key] for key in chunk.keys])

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
        space = self._encoding.space
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
