"""What every test may need: Triton's interpreter where there is no CUDA device, and each kind of database."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Tests share the cores with each other: threads of one computation that wait for each other would spin meanwhile, and
# a hundred small images take six times as long. This must be said before the libraries are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

if TYPE_CHECKING:
    from tests.helpers.postgres_server import PostgresServer
    from tests.helpers.s3_server import S3Server

# Where there is no CUDA device, Triton's kernels are interpreted: this must be said before Triton is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Tests of anything but access ask nobody for a key, in this process and in the servers they start.
os.environ.setdefault("TOUCHSTONE_ACCESS", "open")
# What they claim holds for any encoder: the one of fixed filters takes a fraction of the time.
os.environ.setdefault("TOUCHSTONE_ENCODER", "filterbank")
# Nobody in them speaks TLS: HTTP clients need not read the certificates of all authorities, for 20 ms each.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
# Run as a shell's background job they would ignore SIGINT, and so would all commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Nor does it matter to them how full this machine's disk is.
os.environ.setdefault("TOUCHSTONE_MIN_FREE_BYTES", "0")


def pytest_collection() -> None:
    """What modules make when they are imported is no garbage: looking through it takes a sixth of the time."""
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The service's files, which take long, come first, then the longest other: so no process ends long after the
    others, and the two files that start a Ray cluster do not do so side by side.
    """
    items.sort(key=lambda item: ("service" not in item.path.parts, item.path.name != "test_cluster_encoding.py"))


def pytest_collection_finish() -> None:
    """What is imported stays: garbage is looked for among what tests make, until the end."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # or else compiled modules call what they have made leaked
    gc.enable()


@pytest.fixture(autouse=True)
def unsigned() -> Iterator[None]:
    """A command that a test runs in this process signs what it changes, not what later tests change."""
    from indexer.domain.actor import acting

    token = acting.set(acting.get())
    yield
    acting.reset(token)


@pytest.fixture(autouse=True)
def logged_apart() -> Iterator[None]:
    """A command that a test runs in this process logs to its own standard error, which later tests do not have."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; a test that stops it starts it again."""
    from tests.helpers.postgres_server import PostgresServer  # not before TRITON_INTERPRET is set

    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The url of a database with nothing in it, on each kind of server."""
    yield from _databases(request, tmp_path, migrated=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The url of a database that a catalogue opens in, on each kind of server."""
    yield from _databases(request, tmp_path, migrated=True)


def _databases(request: pytest.FixtureRequest, folder: Path, *, migrated: bool) -> Iterator[str]:
    if request.param == "sqlite":
        from tests.helpers.new_catalogue import new_catalogue

        path = folder / "catalogue.sqlite"
        yield new_catalogue(path) if migrated else f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.new_database(migrated=migrated)
    yield url
    server.drop(url)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server with a bucket."""
    from tests.helpers.s3_server import S3Server

    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_credentials(bucket: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a process that may use it."""
    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
