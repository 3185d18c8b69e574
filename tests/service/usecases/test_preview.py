"""A preview shows the effect of settings, and changes nothing."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from indexer.imaging.decode import read_image
from indexer.imaging.encode import encode_png
from indexer.memory import MemoryBank
from service.app import create_app
from service.state import AppState
from tests.helpers.commands import touchstone
from tests.helpers.http_service import (
    check_problem,
    files,
    inspect,
    onboard,
    running_service,
    settings,
    wait_until_calibrated,
)
from tests.helpers.part_images import part, varied
from tests.helpers.waiting import PATIENCE, eventually


def previewed(client: TestClient, **settings: object) -> dict[str, Any]:
    response = client.post("/categories/disc/preview", json=settings)
    assert response.status_code == 200, response.text
    preview: dict[str, Any] = response.json()
    return preview


@pytest.fixture(scope="module")
def inspected(taught: TestClient) -> TestClient:
    """The taught service, which has inspected four good discs and two scratched ones."""
    parts = [part(800 + seed) for seed in range(4)] + [part(810 + seed, scratched=True) for seed in range(2)]
    assert taught.post("/detect", data={"category": "disc"}, files=files(*parts)).status_code == 200
    return taught


def test_another_rate_is_previewed_from_the_scores_there_are(inspected: TestClient) -> None:
    before = inspected.get("/categories/disc").json()
    preview = previewed(inspected, false_reject_rate=0.5)
    assert (preview["basis"], preview["searched_again"], preview["current"]) == ("stored", False, True)
    scores = inspected.get("/categories/disc/scores").json()["scores"]
    threshold = preview["after"]["threshold"]
    assert threshold in scores
    beyond = sum(score > threshold for score in scores)
    assert preview["after"]["references"] == {"anomalous": beyond, "normal": len(scores) - beyond}
    assert beyond > preview["before"]["references"].get("anomalous", 0)
    assert preview["changed_references"] == beyond - preview["before"]["references"].get("anomalous", 0)
    assert len(preview["inspections"]) == 6
    assert not any(inspection["stale"] for inspection in preview["inspections"])
    for inspection in preview["inspections"]:
        assert inspection["before"]["score"] == inspection["after"]["score"]
        assert inspection["after"]["verdict"] == ("anomalous" if inspection["after"]["score"] > threshold else "normal")
        recorded = inspected.get(f"/inspections/{inspection['inspection_id']}").json()
        assert inspection["before"]["verdict"] == recorded["verdict"]
    assert inspected.get("/categories/disc").json() == before
    manual = previewed(inspected, threshold=2.0)
    assert manual["after"]["inspections"] == {"normal": 6}
    assert (manual["after"]["threshold"], manual["changed_inspections"]) == (2.0, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"region_of_interest": {"polygons": [[[0.72, 0.0], [1.0, 0.0], [1.0, 1.0], [0.72, 1.0]]]}},
        {"k": 5, "rho": 0},
    ],
    ids=["region", "search"],
)
def test_what_a_preview_says_is_what_the_settings_do(inspected: TestClient, settings: dict[str, Any]) -> None:
    parts = files(part(840), part(841, scratched=True))
    inspected.post("/detect", data={"category": "disc"}, files=parts)
    preview = previewed(inspected, **settings)
    assert (preview["basis"], preview["searched_again"]) == ("measured", True)
    assert preview["measured"] == sum(preview["after"]["references"].values())
    stored = {inspection["inspection_id"]: inspection for inspection in preview["inspections"][:2]}
    for inspection in stored.values():
        assert inspection["before"]["score"] == pytest.approx(
            inspected.get(f"/inspections/{inspection['inspection_id']}").json()["score"], abs=1e-5
        )
    assert inspected.patch("/categories/disc", json=settings).status_code == 200
    try:
        calibration = wait_until_calibrated(inspected, "disc")
        assert preview["after"]["threshold"] == pytest.approx(calibration["threshold"], abs=1e-5)
        for inspection_id, inspection in stored.items():
            image = inspected.get(f"/inspections/{inspection_id}/image").content
            sent = {"data": {"category": "disc"}, "files": files(image)}
            detected = inspected.post("/detect", **sent).json()["results"][0]  # type: ignore[arg-type]
            assert detected["score"] == pytest.approx(inspection["after"]["score"], abs=1e-5)
            assert detected["verdict"] == inspection["after"]["verdict"]
    finally:
        inspected.patch("/categories/disc", json={"region_of_interest": None, "k": 150, "rho": 1})
        wait_until_calibrated(inspected, "disc")


def test_a_part_that_became_a_reference_is_compared_with_the_others(inspected: TestClient) -> None:
    image = part(830, scratched=True)
    sent = inspected.post("/detect", data={"category": "disc"}, files=files(image)).json()["results"][0]
    url = f"/inspections/{sent['id']}/feedback"
    inspected.post(url, json={"label": "good"})
    newest = previewed(inspected, k=10)["inspections"][0]
    assert newest["inspection_id"] == sent["id"]
    assert newest["before"]["score"] > sent["score"] / 2, "its own image would be at a distance of 0"
    inspected.post(url, json={"label": "none"})
    wait_until_calibrated(inspected, "disc")


def test_a_preview_without_calibration_says_so_and_a_wrong_one_is_refused(client: TestClient) -> None:
    onboard(client, "disc", part(1))
    preview = previewed(client, false_reject_rate=0.2)
    assert (preview["basis"], preview["after"]["threshold"], preview["references"]) == ("none", None, [])
    assert previewed(client, k=3)["basis"] == "none"
    assert client.post("/categories/none/preview", json={}).status_code == 404
    for wrong in (
        {"k": 0},
        {"layer_weights": [1]},
        {"region_of_interest": {"polygons": [[[0, 0], [0.01, 0], [0, 0.01]]]}},
    ):
        assert client.post("/categories/disc/preview", json=wrong).json()["type"] == "/problems/invalid-request"
    assert client.post("/categories/disc/preview", params={"limit": 51}, json={}).status_code == 422


def test_a_preview_whose_client_has_gone_ends_and_encodes_nothing(inspected: TestClient) -> None:
    async def ask() -> None:
        """Send a request and be gone, as a browser does that aborts it."""
        said: list[Message] = [{"type": "http.request", "body": json.dumps({"k": 4}).encode()}]

        async def receive() -> Message:
            return said.pop() if said else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/categories/disc/preview",
            "query_string": b"",
            "raw_path": b"/categories/disc/preview",
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        await inspected.app(scope, receive, send)

    def encoded() -> list[str]:
        lines = inspected.get("/metrics").text.splitlines()
        return [line for line in lines if line.startswith("touchstone_batch") and "onboard" in line]

    before = encoded()
    assert before
    assert inspected.portal is not None
    inspected.portal.call(ask)
    assert encoded() == before
    assert previewed(inspected, k=4)["searched_again"], "the next one need not wait"
    assert encoded() != before


def test_an_image_of_other_proportions_is_previewed_as_it_was_judged(tmp_path: Path) -> None:
    with running_service(tmp_path) as client:
        onboard(client, "disc", *(varied(seed) for seed in range(6)))
        client.patch(
            "/categories/disc", json={"geometry": {"cells": 49, "on_mismatch": "letterbox"}}
        ).raise_for_status()
        eventually(lambda: client.get("/categories/disc").json()["geometry_change"] is None, "it was not changed", 60)
        wait_until_calibrated(client, "disc")
        tall = encode_png(np.ascontiguousarray(read_image(varied(7, scratched=True)).rgb()[:, 30:110]))
        recorded = inspect(client, tall, category="disc")
        assert [notice["kind"] for notice in recorded["notices"]] == ["other_proportions"]
        [image] = previewed(client, k=5)["inspections"]
        assert image["before"]["score"] == pytest.approx(recorded["score"], abs=1e-6)


def test_a_change_of_geometry_during_a_preview_is_a_problem_to_retry(tmp_path: Path) -> None:
    running = AppState.start(settings(tmp_path, encoder="filterbank", refresh_interval_ms=3_600_000))
    release, blocked = threading.Event(), threading.Event()

    def block(_: MemoryBank) -> None:
        blocked.set()
        release.wait(PATIENCE)

    with TestClient(create_app(running), base_url="http://localhost") as client, ThreadPoolExecutor(1) as pool:
        onboard(client, "disc", *(varied(seed) for seed in range(3)))
        inspect(client, varied(7), category="disc")
        running.worker.submit_calibration(block)
        assert blocked.wait(PATIENCE)
        previewing = pool.submit(client.post, "/categories/disc/preview", json={"rho": 0})
        eventually(lambda: running.worker.queue_stats()["onboard"][0] == 1, "the image is not searched again")
        changed = touchstone("rebuild", "--category", "disc", "--cells", "9", "--encoder", "filterbank", data=tmp_path)
        assert changed.exit_code == 0, changed.stderr
        running.reference_store.refresh()
        release.set()
        check_problem(previewing.result(PATIENCE), 503, "geometry-changed")
