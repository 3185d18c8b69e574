"""Reads and encodes the images of a bulk job on a Ray cluster; the process that started the job commits them."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypedDict, TypeVar

import ray
import ray.data
from ray.exceptions import RayError

from indexer.cores import Cores
from indexer.domain.errors import ClusterError, EncoderError
from indexer.domain.geometry import InputGeometry
from indexer.domain.reading import Reading
from indexer.encoders import EncoderSettings, FeatureSpace, load_encoder
from indexer.imaging.decode import ImageLimits
from indexer.jobs.bulk_encoding import CategoryPlan, Encoded, EncodedBatch, ImageLoader, Loaded, encode_loaded
from indexer.memory.codec import Codec
from indexer.references.reference_store import ReferenceStore

T = TypeVar("T")


@dataclass(frozen=True)
class _Category:
    """How images of a category are read. known: sha256 (hex) of its references."""

    geometry: InputGeometry
    reading: Reading
    known: frozenset[str]


@dataclass(frozen=True)
class _Images(Generic[T]):
    """The images of a batch, as one value: Ray keeps rows in Arrow, and in them any other object pickled."""

    outcomes: tuple[tuple[Path, T], ...]


class _Paths(TypedDict):
    number: int
    paths: list[str]


class _Batch(TypedDict, Generic[T]):
    number: int
    images: _Images[T]


class RayEncoding:
    """On the cluster that this process is connected to.

    CPUs read and decode, actors encode: on a GPU each where the cluster has any, otherwise on a CPU each. Images and
    encoder are read on the nodes, by the paths that they have here. What a lost node or worker had in hand is repeated.
    """

    def __init__(self, encoder: EncoderSettings, space: FeatureSpace, limits: ImageLimits) -> None:
        self._encoder, self._space = encoder, space
        self._loader = ImageLoader(limits, space.global_geometry)

    def encode(self, plans: Iterable[CategoryPlan], library: ReferenceStore) -> Iterator[EncodedBatch]:
        """See `BulkEncoding.encode`. ClusterError when the cluster or a node's encoder fails."""
        planned = {plan.number: plan for plan in plans}
        categories = {
            plan.number: _Category(plan.geometry, plan.reading, library.catalogue.references.digests(plan.category))
            for plan in planned.values()
        }
        work = [
            _Paths(number=plan.number, paths=[str(path) for path in paths])
            for plan in planned.values()
            for paths in plan.batches()
        ]
        if not work:
            return
        resources = ray.cluster_resources()
        gpus = 0 if self._encoder.device == "cpu" else int(resources.get("GPU", 0))
        _keep_quiet()
        encoded = (
            ray.data.from_items(work, override_num_blocks=len(work))
            .map(_load, fn_args=(self._loader, categories), num_cpus=1)
            .map(
                _Encoder,
                fn_constructor_args=(self._encoder, self._space, library.memory.codec),
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or max(1, int(resources.get("CPU", 1)))),
                num_cpus=1,
                num_gpus=min(gpus, 1),
            )
        )
        try:
            for row in encoded.iter_rows():
                yield EncodedBatch(planned[row["number"]], row["images"].outcomes)
        except RayError as error:
            raise ClusterError(f"the Ray cluster failed: {str(error).strip().rpartition(chr(10))[2]}") from error


def _keep_quiet() -> None:
    """Rows come in order; progress is reported by the command."""
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _load(row: _Paths, loader: ImageLoader, categories: Mapping[int, _Category]) -> _Batch[Loaded]:
    category = categories[row["number"]]
    loaded = tuple(
        (path, loader.load(path, category.geometry, category.reading, category.known.__contains__))
        for path in map(Path, row["paths"])
    )
    return {"number": row["number"], "images": _Images(loaded)}


class _Encoder:
    """An actor with an encoder of its own."""

    def __init__(self, settings: EncoderSettings, space: FeatureSpace, codec: Codec) -> None:
        encoder = load_encoder(settings)
        if encoder.space.fingerprint != space.fingerprint:
            raise EncoderError(
                f"node {socket.gethostname()} loads {encoder.space.encoder} ({encoder.space.fingerprint[:12]}), "
                f"not {space.encoder} ({space.fingerprint[:12]}): install the same release and weights there"
            )
        self._encoder, self._codec = Cores().encoding(encoder), codec

    def __call__(self, row: _Batch[Loaded]) -> _Batch[Encoded]:
        encoded = encode_loaded(self._encoder, self._codec, row["images"].outcomes)
        return {"number": row["number"], "images": _Images(encoded)}
