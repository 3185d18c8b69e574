"""Reads and encodes the images of a bulk job on a Ray cluster; the process that started the job commits them."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from indexer.cluster_encoding import encode_on_cluster
from indexer.domain.errors import ClusterError
from indexer.domain.geometry import InputGeometry
from indexer.domain.reading import Reading
from indexer.encoders import Encoder, EncoderSettings, FeatureSpace
from indexer.imaging.decode import ImageLimits
from indexer.jobs.bulk_encoding import CategoryPlan, Encoded, EncodedBatch, ImageLoader, Loaded, encode_loaded
from indexer.memory.codec import Codec
from indexer.references.reference_store import ReferenceStore


@dataclass(frozen=True)
class _Category:
    """How images of a category are read. known: sha256 (hex) of its references."""

    geometry: InputGeometry
    reading: Reading
    known: frozenset[str]


@dataclass(frozen=True)
class _Batch:
    """Images that are encoded together. number: of their category's folder."""

    number: int
    paths: tuple[Path, ...]


class RayEncoding:
    """On the cluster that this process is connected to, see `encode_on_cluster`."""

    def __init__(self, encoder: EncoderSettings, space: FeatureSpace, limits: ImageLimits) -> None:
        self._encoder, self._space = encoder, space
        self._loader = ImageLoader(limits, space.global_geometry)

    def encode(self, plans: Iterable[CategoryPlan], reference_store: ReferenceStore) -> Iterator[EncodedBatch]:
        """See `BulkEncoding.encode`. ClusterError when the cluster fails, or a node's encoder, or it lacks images."""
        planned = {plan.number: plan for plan in plans}
        categories = {
            plan.number: _Category(
                plan.geometry, plan.reading, reference_store.catalogue.references.digests(plan.category)
            )
            for plan in planned.values()
        }
        batches = [_Batch(plan.number, paths) for plan in planned.values() for paths in plan.batches()]
        load = partial(_load, loader=self._loader, categories=categories)
        encode = partial(_encode, codec=reference_store.memory.codec)
        encoded = encode_on_cluster(batches, load, encode, self._encoder, self._space)
        for batch, images in zip(batches, encoded, strict=True):
            yield EncodedBatch(planned[batch.number], images)


def _load(batch: _Batch, loader: ImageLoader, categories: Mapping[int, _Category]) -> tuple[tuple[Path, Loaded], ...]:
    category = categories[batch.number]
    loaded = tuple(
        (path, loader.load(path, category.geometry, category.reading, category.known.__contains__))
        for path in batch.paths
    )
    folder = batch.paths[0].parent
    if all(isinstance(image, str) for _, image in loaded) and _is_empty(folder):
        raise ClusterError(f"node {socket.gethostname()} lacks the images in {folder}: mount it there, too")
    return loaded


def _is_empty(folder: Path) -> bool:
    """Whether there is nothing in a folder here, or no such folder: the command has seen images in it."""
    try:
        return next(iter(folder.iterdir()), None) is None
    except OSError:
        return True


def _encode(
    encoder: Encoder, images: tuple[tuple[Path, Loaded], ...], codec: Codec
) -> tuple[tuple[Path, Encoded], ...]:
    return encode_loaded(encoder, codec, images)
