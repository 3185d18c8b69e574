"""Starts processes in a tenth of the time, by forking from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.helpers.preloaded"])


class ForkedProcess:
    """A process of its own with what a test asks of `subprocess.Popen`: SIGKILL ends it like any other.

    It calls `target` with the arguments, in these variables only. It prints into files: errors with the rest, unless
    they have one of their own. What is imported already has read its variables: not these.
    """

    def __init__(
        self,
        target: Callable[..., None],
        *arguments: object,
        environment: Mapping[str, str],
        output: Path = Path(os.devnull),
        errors: Path | None = None,
    ) -> None:
        job = (target, arguments, dict(environment), output, errors)
        self._process = _FORKS.Process(target=_run, args=job, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit code once it has ended."""
        return self._process.exitcode

    def send_signal(self, signal_number: int) -> None:
        """Nothing happens if it has ended, which the process that forked it may know first."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self._process.exitcode


def _run(
    target: Callable[..., None],
    arguments: tuple[object, ...],
    environment: Mapping[str, str],
    output: Path,
    errors: Path | None,
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the process that forks ignores
    for descriptor, path in ((1, output), (2, errors)):
        file = 1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, descriptor)
    os.environ.clear()
    os.environ |= environment
    target(*arguments)
