"""Requests of tests to a service over HTTP: onboard, inspect, wait for calibration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.state import AppState
from tests.helpers.new_catalogue import new_data_folder

Web = httpx.Client | TestClient
Files = list[tuple[str, tuple[str, bytes, str]]]


def settings(data: Path, **more: object) -> Settings:
    """Defaults but for the geometry, 7×7 patches, of a service on a data folder, which is made if there is none."""
    if "database_url" not in more:
        new_data_folder(data)
    return Settings(data=data, resize=128, crop=112, device="cpu", **more)  # type: ignore[arg-type]


def files(*images: bytes) -> Files:
    """A multipart body's images."""
    return [("images", (f"{index}.png", data, "image/png")) for index, data in enumerate(images)]


@contextmanager
def running_service(data: Path, **more: object) -> Iterator[TestClient]:
    """A client of a service on a data folder: see `settings`."""
    with TestClient(create_app(AppState.start(settings(data, **more))), base_url="http://localhost") as running:
        yield running


def teach(client: Web, category: str, *images: bytes, rate: float | None = None) -> None:
    """Onboard images of a product, accept this false-reject rate, and wait until it is calibrated."""
    onboard(client, category, *images)
    if rate is not None:
        assert client.patch(f"/categories/{category}", json={"false_reject_rate": rate}).status_code == 200
    wait_until_calibrated(client, category)


def onboard(client: Web, category: str, *images: bytes) -> list[int]:
    """Onboard images, all of which must be accepted; returns their ids."""
    response = client.post("/references", data={"category": category}, files=files(*images))
    assert response.status_code == 200, response.text
    return [result["reference_id"] for result in response.json()["results"]]


def wait_until_calibrated(client: Web, category: str, seconds: float = 60) -> dict[str, object]:
    """The category's calibration once it is of the references there are."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        calibration: dict[str, object] = client.get(f"/categories/{category}").json()["calibration"]
        if calibration["state"] == "ready":
            return calibration
        time.sleep(0.05)
    raise AssertionError(f"{category} was not calibrated within {seconds} s: {calibration}")


def inspect(client: Web, image: bytes, **fields: str) -> dict[str, Any]:
    response = client.post("/detect", data=fields, files=files(image))
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["results"][0]
    return result


def say(client: Web, inspection: dict[str, Any], label: str, **more: Any) -> httpx.Response:
    return client.post(f"/inspections/{inspection['id']}/feedback", json={"label": label, **more})


def made_from(client: Web, category: str = "disc") -> dict[int, str]:
    """The live references that feedback made, and from which inspection."""
    page = client.get("/references", params={"category": category, "limit": 1000}).json()
    references = page["references"]
    return {made["id"]: made["inspection_id"] for made in references if made["inspection_id"] is not None}


def check_problem(response, status: int, kind: str) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """The answer is this problem, whole, and names nothing of the machine it ran on."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = response.json()
    assert body["type"] == f"/problems/{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert "/site-packages/" not in response.text
    return body
