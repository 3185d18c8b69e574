"""What runs in the replicas of the two deployments: an encoder; the shards of categories that are asked for."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import ClusterError, NoDataFolder
from indexer.domain.snapshot import Shard
from indexer.encoders import EncoderSettings, FeatureSpace
from indexer.references.reference_shard import ReferenceShard, ShardQuery
from indexer.search import PatchMatches, choose_engine
from service.inference.backend import serving_encoder
from service.inference.warm_up import warm_up

# A window's descriptor, float32 (global_dim,), patches, float32 (layers, cells, dim), and grid.
EncodedWindow = tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]


@dataclass(frozen=True)
class EncoderFacts:
    """Which encoder a deployment has, of which release."""

    release: str
    settings: EncoderSettings
    space: FeatureSpace
    max_pass_cells: int


@dataclass(frozen=True)
class MemorySource:
    """The memory that a deployment serves, by paths that are the same on every node.

    mmap_codes: see `DataSettings`. catalogue_id: by which a node's folder is known to be the same one.
    """

    data: Path
    database_url: str | None
    mmap_codes: bool | None
    catalogue_id: str | None

    def open(self) -> DataFolder:
        """The data folder on this node. ClusterError where there is another one, or none."""
        try:
            folder = DataFolder.existing(self.data, self.database_url)
        except NoDataFolder:
            folder = None
        if folder is None or folder.catalogue_id() != self.catalogue_id:
            raise ClusterError(f"node {socket.gethostname()} lacks the data folder {self.data}: mount it there, too")
        return folder


@dataclass(frozen=True)
class MemoryFacts:
    """Which memory a deployment serves, of which release, with which engine."""

    release: str
    shown: str
    engine: str


class EncoderReplica:
    """One encoder, with a thread of its own. Requests that wait are encoded together on a GPU, one by one on a CPU."""

    def __init__(self, settings: EncoderSettings, batch_size: int, max_batch_delay: float) -> None:
        self._encoder = serving_encoder(settings)
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "encode")
        if settings.compiled:  # on the thread that will use it: CUDA graphs belong to one
            self._thread.submit(warm_up, self._encoder, batch_size).result()

        async def encode(windows: list[NDArray[np.uint8]]) -> list[EncodedWindow]:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, windows)

        at_once = batch_size if self._encoder.device.type == "cuda" else 1
        self._batched = serve.batch(encode, max_batch_size=at_once, batch_wait_timeout_s=max_batch_delay)

    async def facts(self) -> EncoderFacts:
        """What it encodes with."""
        return EncoderFacts(version("touchstone"), self._settings, self._encoder.space, self._encoder.max_pass_cells)

    async def encode(self, window: NDArray[np.uint8]) -> EncodedWindow:
        """A window uint8 (3, H, W), see `Encoder.encode`."""
        encoded: EncodedWindow = await self._batched(window)
        return encoded

    def _encode(self, windows: list[NDArray[np.uint8]]) -> list[EncodedWindow]:
        """Windows of one size in one pass each."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, window in enumerate(windows):
            by_size.setdefault(window.shape, []).append(index)
        encoded: dict[int, EncodedWindow] = {}
        for indices in by_size.values():
            features = self._encoder.encode(torch.from_numpy(np.stack([windows[index] for index in indices])))
            descriptors, patches = features.global_descriptors.cpu().numpy(), features.patches.cpu().numpy()
            encoded |= {index: (descriptors[at], patches[at], features.grid) for at, index in enumerate(indices)}
        return [encoded[index] for index in range(len(windows))]


class MemoryReplica:
    """The most recently used shards, as Serve's multiplexed models; searched on the CPU, one query at a time."""

    def __init__(self, source: MemorySource, max_shards: int) -> None:
        self._source = source
        self._folder = source.open()
        self._catalogue = Catalogue.of(self._folder)
        self._engine = choose_engine(torch.device("cpu"))
        self._thread = ThreadPoolExecutor(1, "search")

        async def load(model_id: str) -> ReferenceShard:
            return await asyncio.to_thread(self._load, model_id)

        self._shard = serve.multiplexed(load, max_num_models_per_replica=max_shards)

    async def facts(self) -> MemoryFacts:
        """What it searches."""
        return MemoryFacts(version("touchstone"), shown(self._folder), self._engine.name)

    async def search(self, query: ShardQuery) -> PatchMatches:
        """See `ReferenceShard.search`; the shard is the request's model."""
        shard: ReferenceShard = await self._shard(serve.get_multiplexed_model_id())
        return await asyncio.get_running_loop().run_in_executor(self._thread, shard.search, self._engine, query)

    def _load(self, model_id: str) -> ReferenceShard:
        return ReferenceShard(self._folder, self._catalogue, shard_of(model_id), self._source.mmap_codes)


def shown(folder: DataFolder) -> str:
    """Which data, for people: without the password."""
    return f"{folder.root} ({folder.database.render_as_string()})"


def model_id_of(shard: Shard) -> str:
    """Serve's name of a shard."""
    return f"{shard.number}/{shard.count}/{shard.category}"


def shard_of(model_id: str) -> Shard:
    """The inverse of `model_id_of`."""
    number, count, category = model_id.split("/", 2)
    return Shard(category, int(number), int(count))
