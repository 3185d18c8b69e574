"""Reads and encodes the images of an evaluation, here or, in `ray_encoding.py`, on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from indexer.domain.geometry import InputGeometry
from indexer.encoders import Encoder, Features, FeatureSpace
from indexer.encoders.encode_images import encode_batch
from indexer.encoders.preprocessing import PreparedImage, prepare
from indexer.evaluation.dataset import DatasetError
from indexer.imaging.decode import ImageRejected, read_image

BATCH = 8  # images encoded at once, or more where there are more cores
_DECODERS = 2


@dataclass(frozen=True)
class ImageGroup:
    """Images of one geometry, of which no batch mixes with those of another group."""

    paths: tuple[Path, ...]
    geometry: InputGeometry

    def batches(self, size: int) -> list[ImageGroup]:
        """In groups of so many at most, in order."""
        return [
            ImageGroup(self.paths[start : start + size], self.geometry) for start in range(0, len(self.paths), size)
        ]


class ImageEncoding(Protocol):
    """Encodes images in the order in which they are judged. space: of its features."""

    space: FeatureSpace

    def features(self, groups: Iterable[ImageGroup]) -> Iterator[Features]:
        """The features of all images in order, in batches, on the encoder's device.

        DatasetError for an image that cannot be used; ClusterError.
        """
        ...


class LocalEncoding:
    """On this machine. A group is asked for when the images before it have been taken."""

    def __init__(self, encoder: Encoder) -> None:
        self.space = encoder.space
        self._encoder = encoder

    def features(self, groups: Iterable[ImageGroup]) -> Iterator[Features]:
        """See `ImageEncoding.features`."""
        size = max(BATCH, torch.get_num_threads())
        with ThreadPoolExecutor(_DECODERS) as pool:

            def begin(batch: ImageGroup) -> list[Future[PreparedImage]]:
                return [
                    pool.submit(load_image, path, batch.geometry, self.space.global_geometry) for path in batch.paths
                ]

            for group in groups:
                first, *others = group.batches(size)
                ahead = begin(first)
                for following in (*others, ImageGroup((), group.geometry)):
                    batch, ahead = ahead, begin(following)  # decoded while this one is encoded and judged
                    yield encode_batch(self._encoder, [loading.result() for loading in batch])


def load_image(path: Path, geometry: InputGeometry, global_geometry: InputGeometry) -> PreparedImage:
    """Read, decode and prepare one image, as the service does. DatasetError when it cannot be used."""
    try:
        stored = read_image(path.read_bytes(), geometries=(geometry, global_geometry))
        return prepare(stored.rgb(), geometry, global_geometry, stored.size)
    except ImageRejected as refused:
        raise DatasetError(f"{path}: {refused.detail}") from refused
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def of_each_image(batches: Iterable[Features]) -> Iterator[Features]:
    """The features of each image, in order, as batches of one."""
    for batch in batches:
        yield from (batch.item(index) for index in range(len(batch)))
