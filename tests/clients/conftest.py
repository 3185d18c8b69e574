"""A real service process that knows one part, for everything that talks to it over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.service.pictures import part
from tests.service.server_process import ServerProcess
from touchstone_client import Client


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that knows 24 good discs, calibrated at a false-reject rate of 5 %."""
    data = tmp_path_factory.mktemp("service") / "data"
    with ServerProcess(data).wait_until_live() as server:
        url = f"http://127.0.0.1:{server.port}"
        teach(url)
        yield url


def teach(url: str) -> None:
    """Onboard 24 good discs and wait until they are calibrated."""
    with Client(url) as client:
        client.onboard("disc", [part(seed) for seed in range(24)])
        client.change_category("disc", false_reject_rate=0.05)
        end = time.monotonic() + 60
        while client.category("disc").calibration.state != "ready":
            assert time.monotonic() < end, "not calibrated"
            time.sleep(0.05)
