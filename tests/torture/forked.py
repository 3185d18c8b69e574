"""Server processes that start in a fraction of the time: forked from one that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx

from tests.service.server_process import ServerProcess, free_port

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["service.server", "indexer.catalogue.schema", "psycopg", "faiss"])


class ForkedServer(ServerProcess):
    """As `ServerProcess`: a process of its own, that SIGKILL ends like any other."""

    def __init__(self, data: Path, **more: str) -> None:
        self.port = free_port()
        self.log = data.parent / f"{data.name}.log"
        settings = {"DATA": str(data), "PORT": str(self.port), "RESIZE": "128", "CROP": "112", "DEVICE": "cpu", **more}
        forked = _FORKS.Process(target=_serve, args=(settings, self.log))
        forked.start()
        self.process = _Popen(forked)  # type: ignore[assignment]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)


class _Popen:
    """A forked process with the methods of `subprocess.Popen` that `ServerProcess` uses."""

    def __init__(self, forked: ForkServerProcess) -> None:
        self._forked = forked

    def poll(self) -> int | None:
        return self._forked.exitcode

    def kill(self) -> None:
        self._forked.kill()

    def send_signal(self, number: int) -> None:
        assert self._forked.pid is not None
        os.kill(self._forked.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._forked.join(timeout)
        if self._forked.exitcode is None:
            raise subprocess.TimeoutExpired("server", timeout or 0)
        return self._forked.exitcode


def _serve(settings: dict[str, str], log: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ |= {f"TOUCHSTONE_{name}": value for name, value in settings.items()}
    from service.server import serve
    from service.settings import Settings

    serve(Settings())
