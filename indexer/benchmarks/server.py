"""A real server to measure over HTTP, and images to send it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np

_START_SECONDS = 300


@contextmanager
def running_server(folder: Path, settings: Mapping[str, object]) -> Iterator[httpx.Client]:
    """`python -m service` on a free port, its data in the folder, open to this machine; yields a client of it.

    settings: by their names without `TOUCHSTONE_`. RuntimeError with the end of its log when it does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"ACCESS": "open", "DATA": folder / "data", "PORT": port, **settings}
    environment = {**os.environ, **{f"TOUCHSTONE_{name}": str(value) for name, value in settings.items()}}
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "service"], env=environment, stdout=out, stderr=out)
    limits = httpx.Limits(max_connections=None)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits, trust_env=False) as client:
            end = time.monotonic() + _START_SECONDS
            while not _ready(client):
                if process.poll() is not None or time.monotonic() > end:
                    said = re.sub(r"\s+", " ", log.read_text(errors="replace"))[-500:]
                    raise RuntimeError(f"the server did not start: {said}")
                time.sleep(0.02)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def photograph(side: int, seed: int, suffix: str = ".jpg") -> bytes:
    """A square image of smooth shapes and grain, which compresses as a photograph does. suffix: `.jpg` or `.png`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (side // 16 + 1, side // 16 + 1, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    image = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == ".jpg" else []
    return cv2.imencode(suffix, image, options)[1].tobytes()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
