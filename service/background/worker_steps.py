"""Runs long work on the inference worker step by step, so that a detection waits for one step at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TypeVar

from indexer.encoders import Encoder, PreparedImage
from indexer.encoders.encode_images import encode_images
from indexer.memory import Codec, EncodedReferences, MemoryBank
from service.inference.worker import InferenceWorker

T = TypeVar("T")


def encode_reference(
    worker: InferenceWorker, encoder: Encoder, codec: Codec, image: PreparedImage
) -> EncodedReferences:
    """One image as a reference, encoded behind all other work. Called on a background task's thread."""
    return worker.submit_calibration(lambda _: codec.encode(encode_images(encoder, [image])[0])).result()


def run_steps(
    worker: InferenceWorker, steps: Generator[float, None, T], check: Callable[[float], None] = lambda done: None
) -> T:
    """What the steps return, each run behind all other work. Called on a background task's thread.

    check: called after each step with the share done, 0 to 1; what it raises ends the work.
    """
    step, ended = _stepper(steps)
    while not ended:
        check(worker.submit_calibration(step).result())
    return ended[0]


async def await_steps(worker: InferenceWorker, steps: Generator[float, None, T]) -> T:
    """The same for a request: no thread waits for the worker's idle time."""
    step, ended = _stepper(steps)
    while not ended:
        await asyncio.wrap_future(worker.submit_calibration(step))
    return ended[0]


def _stepper(steps: Generator[float, None, T]) -> tuple[Callable[[MemoryBank], float], list[T]]:
    """The next step, as the worker runs it: returns the share done. What the steps return is put into the list."""
    ended: list[T] = []

    def step(_: MemoryBank) -> float:
        try:
            return next(steps)
        except StopIteration as end:
            ended.append(end.value)
            return 1.0

    return step, ended
