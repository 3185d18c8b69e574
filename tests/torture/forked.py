"""Server processes that start in a fraction of the time: forked from one that has imported everything already."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx

from tests.helpers.server_process import ServerProcess, free_port

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["service.server", "indexer.catalogue.migrations", "psycopg", "faiss"])

_AT_WORK = "compacting"


class ForkedServer(ServerProcess):
    """As `ServerProcess`: a process of its own, that SIGKILL ends like any other."""

    def __init__(self, data: Path, **more: str) -> None:
        self.port = free_port()
        self.log = data.parent / f"{data.name}.log"
        settings = {"DATA": str(data), "PORT": str(self.port), "RESIZE": "128", "CROP": "112", "DEVICE": "cpu", **more}
        self.process = _Popen(_started(_serve, settings, self.log))  # type: ignore[assignment]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)


class ForkedCompactor:
    """Another process on a data folder that rewrites its segments without a pause, until SIGKILL ends it."""

    def __init__(self, data: Path, database_url: str | None) -> None:
        self.log = data.parent / f"{data.name}-compactor.log"
        self.log.unlink(missing_ok=True)
        self.process = _Popen(_started(_compact, data, database_url, self.log))

    def wait_until_at_work(self) -> None:
        """Return once it has compacted, or found nothing to compact. AssertionError with its log if it ends first."""
        while not (self.log.exists() and self.log.read_text() == _AT_WORK):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, at once. AssertionError with its log if it had ended by itself."""
        assert self.process.poll() is None, self.log.read_text()
        self.process.kill()
        self.process.wait()


def _started(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    forked = _FORKS.Process(target=target, args=arguments)
    forked.start()
    return forked


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


def _write_to(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _compact(data: Path, database_url: str | None, log: Path) -> None:
    _write_to(log)
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.domain.errors import CorruptSegmentError, SegmentsChanged
    from indexer.encoders.base import FeatureSpace
    from indexer.references.reference_store import ReferenceStore

    catalogue = Catalogue.open(DataFolder.existing(data, database_url).database)
    record = catalogue.memories.active()
    catalogue.close()
    assert record is not None
    space = FeatureSpace.from_json(record.space_json)
    library = ReferenceStore.open(data, space, codec=record.codec, database_url=database_url)
    for turn in itertools.count():
        try:
            library.compact()
            library.refresh()
        except (CorruptSegmentError, SegmentsChanged):
            pass  # the server's own compaction was faster
        if turn == 0:
            print(_AT_WORK, end="", flush=True)
        time.sleep(0.005)


def _serve(settings: dict[str, str], log: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _write_to(log)
    os.environ |= {f"TOUCHSTONE_{name}": value for name, value in settings.items()}
    from service.server import serve
    from service.settings import Settings

    serve(Settings())
