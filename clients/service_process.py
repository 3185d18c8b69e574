"""A service process of its own on a data folder, for programs that show or check it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_STOP_SECONDS = 20
_START_SECONDS = 180


def free_port() -> int:
    """A TCP port of the loopback address that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def service_process(data: Path, log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A service with open access, stopped at the end of the block; its output goes to `log`."""
    options = ["--host", "127.0.0.1", "--port", str(port), "--open", "--data", str(data)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", *options], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running_service(folder: Path) -> Iterator[str]:
    """The URL of a service that responds, with data and log in a folder. RuntimeError with its log if it ends."""
    port, log = free_port(), folder / "service.log"
    with service_process(folder / "data", log, port) as process:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + _START_SECONDS
        while not _responds(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
        yield url


def _responds(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False
