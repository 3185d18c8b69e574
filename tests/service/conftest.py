"""A running service on an empty data folder, and one that knows two products."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.helpers.http_service import running_service, teach
from tests.helpers.part_images import part


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of a service with no references."""
    with running_service(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service that knows 24 good discs and 6 plates, calibrated at a false-reject rate of 5 %."""
    with running_service(tmp_path_factory.mktemp("data")) as running:
        teach(running, "disc", *(part(seed) for seed in range(24)), rate=0.05)
        teach(running, "plate", *(part(seed, kind=1) for seed in range(6)))
        yield running
