"""All cores for several images: they are encoded and searched side by side, each by one thread.

Threads that share one image's work wait for each other at every operation, the longer the busier the machine is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders import Encoder, Features
from indexer.encoders.base import join_features
from indexer.memory import MemoryBank, RetrievedReferences
from indexer.search import PatchMatches, PatchQuery, PatchSearchEngine


class Cores:
    """As many threads as torch uses, each of which works alone. A context manager; one job has it at a time."""

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads, "core", initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> Cores:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)  # what was set last is what threads get that start later

    def encoding(self, encoder: Encoder) -> Encoder:
        """The encoder, which on a CPU encodes a batch's images side by side."""
        return _Encoding(encoder, self._pool) if encoder.device.type == "cpu" else encoder

    def searching(self, engine: PatchSearchEngine, device: torch.device) -> PatchSearchEngine:
        """The engine of a device, which on a CPU answers several questions side by side."""
        return _Searching(engine, self._pool, self._threads) if device.type == "cpu" else engine


class SideBySide:
    """An encoder in torch on the CPU that encodes as many images of a batch at once as torch has threads, one each.

    The rest of a batch, fewer images than threads, and so a single image, is encoded by all threads together. Satisfies
    `Encoder`; the features are the same.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.space, self.device, self.max_pass_cells = encoder.space, encoder.device, encoder.max_pass_cells
        self._encoder = encoder
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads, "encode")
        all_started = threading.Barrier(self._threads)

        def work_alone(_: int) -> None:
            torch.get_num_threads()  # a thread takes over the number set for all at first use: not after this
            all_started.wait()
            torch.set_num_threads(1)

        list(self._pool.map(work_alone, range(self._threads)))
        torch.set_num_threads(self._threads)  # what was set last is what threads get that start later

    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`."""
        alone = len(batch) // self._threads * self._threads
        parts = list(self._pool.map(self._encoder.encode, torch.split(batch[:alone], 1))) if alone else []
        if alone < len(batch) or not parts:
            parts.append(self._encoder.encode(batch[alone:]))
        return join_features(parts)


class _Encoding:
    def __init__(self, encoder: Encoder, pool: ThreadPoolExecutor) -> None:
        self.space, self.device, self.max_pass_cells = encoder.space, encoder.device, encoder.max_pass_cells
        self._encoder, self._pool = encoder, pool

    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`."""
        return join_features(list(self._pool.map(self._encoder.encode, torch.split(batch, 1))))


class _Searching:
    def __init__(self, engine: PatchSearchEngine, pool: ThreadPoolExecutor, parts: int) -> None:
        self.name, self.max_queries, self.codes = engine.name, engine.max_queries, engine.codes
        self._engine, self._pool, self._parts = engine, pool, parts

    def nearest_references(
        self,
        memory: MemoryBank,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None = None,
        exclude_rows: Sequence[int] = (),
        grid: tuple[int, int] | None = None,
    ) -> RetrievedReferences:
        """See `PatchSearchEngine.nearest_references`."""
        return self._engine.nearest_references(memory, descriptor, k, category, exclude_rows, grid)

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """See `PatchSearchEngine.max_similarity`."""
        return self._engine.max_similarity(memory, queries, rows, rho)

    def search(self, memory: MemoryBank, questions: Sequence[PatchQuery]) -> list[PatchMatches]:
        """See `PatchSearchEngine.search`."""
        size = -(-len(questions) // self._parts)
        parts = [questions[start : start + size] for start in range(0, len(questions), size)]
        return [
            matches
            for part in self._pool.map(lambda part: self._engine.search(memory, part), parts)
            for matches in part
        ]
