"""Which calibration a category is judged by while its references come and go, and when it is created anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.calibration.adaptation import Adaptation
from indexer.calibration.leave_one_out import LeaveOneOut
from indexer.domain.encoding import Encoding
from indexer.imaging.decode import read_image
from indexer.imaging.encode import encode_jpeg
from service.app import create_app
from service.background import calibration_manager
from service.state import AppState
from tests.helpers.http_service import inspect, onboard, settings
from tests.helpers.part_images import part, varied


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, AppState]]:
    """A service whose background tasks do nothing by themselves, once they have looked at an empty folder."""
    running = AppState.start(settings(tmp_path, refresh_interval_ms=3_600_000))
    with TestClient(create_app(running), base_url="http://localhost") as client:
        yield client, running


def calibrate(running: AppState) -> None:
    running.calibrations.round(threading.Event())


def calibration(client: TestClient) -> dict[str, Any]:
    latest: dict[str, Any] = client.get("/categories/disc").json()["calibration"]
    return latest


def test_a_category_created_anew_is_not_judged_by_the_removed_one_of_its_name(
    served: tuple[TestClient, AppState],
) -> None:
    client, running = served
    onboard(client, "disc", *(part(seed) for seed in range(6)))
    client.patch("/categories/disc", json={"false_reject_rate": 0.2}).raise_for_status()
    calibrate(running)
    assert inspect(client, part(77), category="disc")["verdict"] != "uncalibrated"

    client.delete("/categories/disc").raise_for_status()
    onboard(client, "disc", *(part(seed, kind=1) for seed in range(6)))
    client.patch("/categories/disc", json={"false_reject_rate": 0.2}).raise_for_status()
    other = inspect(client, part(78, kind=1), category="disc")
    assert (other["verdict"], other["threshold"], other["p_value"]) == ("uncalibrated", None, None)
    assert (calibration(client)["state"], calibration(client)["threshold"]) == ("pending", None)
    assert client.get("/categories/disc/scores").json()["scores"] == []
    calibrate(running)
    assert inspect(client, part(78, kind=1), category="disc")["threshold"] == calibration(client)["threshold"] > 0


def test_nor_are_its_compressed_images(served: tuple[TestClient, AppState]) -> None:
    client, running = served
    compressed = encode_jpeg(read_image(part(77)).rgb(), 40)
    encoding: Encoding = read_image(compressed).encoding
    onboard(client, "disc", *(varied(seed) for seed in range(6)))
    calibrate(running)
    inspect(client, compressed, category="disc")
    running.adaptations.round(threading.Event())
    before = running.adaptations.of("disc", encoding)
    assert isinstance(before, Adaptation)

    client.delete("/categories/disc").raise_for_status()
    onboard(client, "disc", *(part(seed, kind=1) for seed in range(6)))
    assert running.adaptations.of("disc", encoding) == "waiting"
    calibrate(running)
    assert running.adaptations.of("disc", encoding) == "waiting"
    running.adaptations.round(threading.Event())
    after = running.adaptations.of("disc", encoding)
    assert isinstance(after, Adaptation)
    assert not set(after.calibration.references) & set(before.calibration.references)


@pytest.mark.parametrize(
    ("module", "step"),
    [(calibration_manager, "read_stored"), (LeaveOneOut, "balance_layers")],
    ids=["before", "between"],
)
def test_a_calibration_whose_reference_is_removed_before_or_between_its_steps_is_not_used(
    served: tuple[TestClient, AppState], monkeypatch: pytest.MonkeyPatch, module: object, step: str
) -> None:
    client, running = served
    ids = onboard(client, "disc", *(varied(seed) for seed in range(5)), varied(9, scratched=True))
    original: Callable[..., object] = getattr(module, step)

    def removing(*arguments: object) -> object:
        running.reference_store.remove(ids[-1:])  # as another request does at this moment
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module, step, removing)
        calibrate(running)
    assert running.calibrations.of("disc") is None
    calibrate(running)
    result = calibration(client)
    assert (result["state"], result["references"]) == ("ready", 5)
