"""A running service on an empty data folder, at a geometry small enough for tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.state import AppState
from tests.service.pictures import part

Files = list[tuple[str, tuple[str, bytes, str]]]


def settings(data: Path, **more: object) -> Settings:
    """Defaults but for the geometry: 7×7 patches."""
    return Settings(data=data, resize=128, crop=112, device="cpu", **more)  # type: ignore[arg-type]


def files(*pictures: bytes) -> Files:
    """A multipart body's pictures."""
    return [("images", (f"{index}.png", data, "image/png")) for index, data in enumerate(pictures)]


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


def onboard(client: TestClient, category: str, *pictures: bytes) -> list[int]:
    """Onboard pictures, all of which must be accepted; returns their ids."""
    answer = client.post("/references", data={"category": category}, files=files(*pictures))
    assert answer.status_code == 200, answer.text
    return [result["reference_id"] for result in answer.json()["results"]]


def wait_until_calibrated(client: TestClient, category: str, seconds: float = 60) -> dict[str, object]:
    """The category's calibration once it is of the references there are."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        calibration: dict[str, object] = client.get(f"/categories/{category}").json()["calibration"]
        if calibration["state"] == "ready":
            return calibration
        time.sleep(0.05)
    raise AssertionError(f"{category} was not calibrated within {seconds} s: {calibration}")
