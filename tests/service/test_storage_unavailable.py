"""A data folder that cannot be used: detection goes on, and what cannot be done is a problem, not a crash."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess


@contextmanager
def no_file_grows(server: ServerProcess) -> Iterator[None]:
    """Every write fails, with an error that does not say that the disk is full."""
    most = resource.RLIM_INFINITY
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (10_000, most))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def folder_moved(server: ServerProcess) -> Iterator[None]:
    """As when a share is unmounted."""
    away = server.data.with_name("away")
    server.data.rename(away)
    try:
        yield
    finally:
        shutil.rmtree(server.data, ignore_errors=True)
        away.rename(server.data)


def onboard(server: ServerProcess, seed: int) -> httpx.Response:
    return server.client.post("/references", data={"category": "disc"}, files=files(part(seed)))


def detect(server: ServerProcess, seed: int) -> dict[str, object]:
    response = server.client.post("/detect", files=files(part(seed)))
    assert response.status_code == 200, response.text
    result: dict[str, object] = response.json()["results"][0]
    return result


@pytest.mark.parametrize("taken", [no_file_grows, folder_moved])
def test_a_data_folder_that_cannot_be_used_stops_no_detection(
    tmp_path: Path, taken: Callable[[ServerProcess], contextmanager[None]]
) -> None:
    with ServerProcess(tmp_path / "data").wait_until_live() as server:
        server.teach("disc", *(part(seed) for seed in range(4)))
        assert detect(server, 10)["recorded"] is True
        with taken(server):
            assert detect(server, 11)["recorded"] is False
            refused = onboard(server, 20)
            assert refused.status_code == 503, refused.text
            assert refused.json()["type"] in ("/problems/storage-unavailable", "/problems/unavailable")
            assert "retry-after" in refused.headers
            scraped = server.client.get("/metrics")
            assert (scraped.status_code, "touchstone_references 4.0" in scraped.text) == (200, True)
            assert server.client.get("/storage").status_code in (200, 503, 507)
            assert server.client.get("/readyz").status_code == 200
        end = time.monotonic() + 60
        while (response := onboard(server, 21)).status_code != 200:
            assert time.monotonic() < end, response.text
            time.sleep(0.2)
        assert detect(server, 12)["recorded"] is True
        assert "Traceback" not in server.log.read_text(), server.log.read_text()
