"""All cores for a long job: images are encoded and searched side by side, each by one thread.

Threads that share one image's work wait for each other at every operation, the longer the busier the machine is.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders import Encoder, Features
from indexer.memory import Memory, Neighbours
from indexer.search import Answer, Engine, Question


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

    def searching(self, engine: Engine, device: torch.device) -> Engine:
        """The engine of a device, which on a CPU answers several questions side by side."""
        return _Searching(engine, self._pool, self._threads) if device.type == "cpu" else engine


class _Encoding:
    def __init__(self, encoder: Encoder, pool: ThreadPoolExecutor) -> None:
        self.space, self.device = encoder.space, encoder.device
        self._encoder, self._pool = encoder, pool

    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`."""
        each = list(self._pool.map(self._encoder.encode, torch.split(batch, 1)))
        return Features(torch.cat([one.globals_ for one in each]), torch.cat([one.patches for one in each]))


class _Searching:
    def __init__(self, engine: Engine, pool: ThreadPoolExecutor, parts: int) -> None:
        self.name, self.at_once, self.codes = engine.name, engine.at_once, engine.codes
        self._engine, self._pool, self._parts = engine, pool, parts

    def nearest(
        self,
        memory: Memory,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None = None,
        without: Sequence[int] = (),
    ) -> Neighbours:
        """See `Engine.nearest`."""
        return self._engine.nearest(memory, descriptor, k, category, without)

    def best(self, memory: Memory, queries: torch.Tensor, rows: NDArray[np.int64], rho: int) -> NDArray[np.float32]:
        """See `Engine.best`."""
        return self._engine.best(memory, queries, rows, rho)

    def answers(self, memory: Memory, questions: Sequence[Question]) -> list[Answer]:
        """See `Engine.answers`."""
        size = -(-len(questions) // self._parts)
        parts = [questions[start : start + size] for start in range(0, len(questions), size)]
        return [
            answer for part in self._pool.map(lambda part: self._engine.answers(memory, part), parts) for answer in part
        ]
