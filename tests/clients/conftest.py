"""A real service process with one calibrated product, shared by all tests of the clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.helpers.discs import onboard_discs
from tests.helpers.server_process import ServerProcess


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service that knows good discs."""
    data = tmp_path_factory.mktemp("service") / "data"
    with ServerProcess(data).wait_until_live() as server:
        url = f"http://127.0.0.1:{server.port}"
        onboard_discs(url)
        yield url
