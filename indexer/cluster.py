"""Connects to a Ray cluster. Ray is an extra, and imported when a command is told to use it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from indexer.domain.errors import ClusterError

_PATIENCE = 5.0  # seconds for the head node to accept a connection


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Use a cluster while the block runs.

    address: HOST:PORT of its head node, `auto` for the cluster that this machine is a node of, `local` for one of this
    machine alone, which ends with the block. ClusterError, one line.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong is raised
    records = logging.getLogRecordFactory()
    try:
        import ray
    except ImportError as error:
        raise ClusterError("--ray needs Ray: pip install 'touchstone[ray]'") from error
    try:
        if ":" in address:  # Ray itself would try for a quarter of an hour
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), _PATIENCE).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {str(error).partition(chr(10))[0]}") from error
    logging.setLogRecordFactory(records)  # Ray would add a field to each of this process's log lines
    try:
        yield
    finally:
        ray.shutdown()
