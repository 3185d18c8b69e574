"""Reads and encodes the images of an evaluation on a Ray cluster; the command searches and judges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from indexer.cluster_encoding import encode_on_cluster
from indexer.domain.geometry import InputGeometry
from indexer.encoders import Encoder, EncoderSettings, Features, PreparedImage
from indexer.encoders.encode_images import encode_batch
from indexer.evaluation.encoding import BATCH, ImageGroup, load_image


class RayEncoding:
    """On the cluster that this process is connected to, see `encode_on_cluster`.

    settings: of the encoder, which is loaded on the nodes; the features go to the device of this process's.
    """

    def __init__(self, settings: EncoderSettings, encoder: Encoder) -> None:
        self.space = encoder.space
        self._settings, self._device = settings, encoder.device

    def features(self, groups: Iterable[ImageGroup]) -> Iterator[Features]:
        """See `ImageEncoding.features`; the groups are known before the first image is read."""
        batches = [batch for group in groups for batch in group.batches(BATCH)]
        load = partial(_load, global_geometry=self.space.global_geometry)
        for features in encode_on_cluster(batches, load, _encode, self._settings, self.space):
            yield features.to(self._device)


def _load(batch: ImageGroup, global_geometry: InputGeometry) -> list[PreparedImage]:
    return [load_image(path, batch.geometry, global_geometry) for path in batch.paths]


def _encode(encoder: Encoder, images: list[PreparedImage]) -> Features:
    return encode_batch(encoder, images).to("cpu")
