"""A Ray cluster of several nodes on this machine, each of which can be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from ray.cluster_utils import Cluster

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
