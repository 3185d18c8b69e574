"""Thread pools for blocking work, separate so that one that is full delays no other kind of work."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_DETECTION = 8
_RECORDING = 4
_CATALOGUE = 16
_FILES = 4


class ThreadPool:
    """A thread pool that a coroutine can await; work runs in the caller's context."""

    def __init__(self, name: str, threads: int) -> None:
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def __call__(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """What `work` returns, or raises."""
        context = contextvars.copy_context()
        call = lambda: context.run(work, *args, **options)  # noqa: E731 - it is where types end
        return await asyncio.get_running_loop().run_in_executor(self.executor, call)

    def close(self) -> None:
        """Cancel queued work, and let the threads end."""
        self.executor.shutdown(wait=False, cancel_futures=True)


class ThreadPools:
    """Every pool of a service but those that decode.

    detection: what a detection needs beside the encoder: its record, which gives up on a database soon, and its images.
    recording: records that no request waits for.
    catalogue: all other database access. It is the loop's default executor, used by `asyncio.to_thread`. files: reading
    and rendering stored images.
    """

    def __init__(self) -> None:
        self.detection = ThreadPool("detection", _DETECTION)
        self.recording = ThreadPool("recording", _RECORDING)
        self.catalogue = ThreadPool("catalogue", _CATALOGUE)
        self.files = ThreadPool("files", _FILES)

    def close(self) -> None:
        """End them all, without waiting for a thread that hangs."""
        for pool in (self.detection, self.recording, self.catalogue, self.files):
            pool.close()
