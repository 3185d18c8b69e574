"""A running service on an empty data folder, at a geometry small enough for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.state import AppState
from tests.helpers.http_service import onboard, settings, wait_until_calibrated
from tests.helpers.part_images import part


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of a service with no references."""
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as running:
        yield running


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service that knows 24 good discs and 6 plates, calibrated at a false-reject rate of 5 %."""
    with TestClient(
        create_app(AppState.start(settings(tmp_path_factory.mktemp("data")))), base_url="http://localhost"
    ) as running:
        onboard(running, "disc", *(part(seed) for seed in range(24)))
        onboard(running, "plate", *(part(seed, kind=1) for seed in range(6)))
        assert running.patch("/categories/disc", json={"false_reject_rate": 0.05}).status_code == 200
        wait_until_calibrated(running, "disc")
        wait_until_calibrated(running, "plate")
        yield running
