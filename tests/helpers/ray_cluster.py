"""A Ray cluster of several nodes on this machine, each of which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.helpers.waiting import eventually

_STORE = 128 << 20  # bytes of a node's object store


@contextmanager
def ray_cluster(workers: int, store: int = _STORE) -> Iterator[Cluster]:
    """A head node that runs no work, and as many nodes of one CPU each. store: bytes of each one's object store."""
    unneeded = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": store, **unneeded})
    try:
        for _ in range(workers):
            cluster.add_node(num_cpus=1, object_store_memory=store)
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def node_without(cluster: Cluster, folder: Path, cpus: int) -> Iterator[None]:
    """A node that sees an empty folder in the place of one that the others have. Skips the test where none can be."""
    start = f"ray start --address {cluster.address} --num-cpus {cpus} --object-store-memory {_STORE} --block"
    log = folder.parent / "node.log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("wb") as output:
        command = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "$0" && exec {start}', str(folder)]
        node = subprocess.Popen(command, env=os.environ | {"PATH": path}, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: b"runtime started" in log.read_bytes() or node.poll() is not None, "no node started", 60)
        if node.poll() is not None:
            pytest.skip(f"no folder can be hidden from a node here: {log.read_text()}")
        yield
    finally:
        node.terminate()
        node.wait(30)


def kill_worker(name: str) -> bool:
    """Kill a process that works for the cluster under a name; False while there is none."""
    working = workers(name)
    for process in working[:1]:
        os.kill(process.pid, signal.SIGKILL)
    return bool(working)


def workers(name: str) -> list[psutil.Process]:
    """The processes that work for the cluster under names that begin so."""
    working = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if " ".join(process.cmdline()).startswith(f"ray::{name}"):
                working.append(process)
    return working
