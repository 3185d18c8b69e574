"""GPU settings do not change results."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.state import AppState
from tests.helpers.http_service import files, onboard, settings, wait_until_calibrated
from tests.helpers.part_images import part
from tests.helpers.waiting import eventually


def test_images_prepared_on_the_device_score_the_same(tmp_path: Path) -> None:
    scores = []
    for on_device in (False, True):
        data = tmp_path / str(on_device)
        with TestClient(
            create_app(AppState.start(settings(data, preprocess_on_device=on_device))), base_url="http://localhost"
        ) as client:
            onboard(client, "disc", *(part(seed) for seed in range(4)))
            response = client.post("/detect", files=files(part(9, scratched=True)))
            scores.append(response.json()["results"][0]["score"])
    assert scores[0] == pytest.approx(scores[1], abs=0.01)  # of 0.5: flat parts show every grey level


def test_codes_on_the_disk_give_the_same_answer_before_and_after_a_restart(tmp_path: Path) -> None:
    scores = []
    for on_disk in (False, True, True):
        with TestClient(
            create_app(AppState.start(settings(tmp_path, mmap_codes=on_disk))), base_url="http://localhost"
        ) as client:
            if not scores:
                onboard(client, "disc", *(part(seed) for seed in range(4)))
            wait_until_calibrated(client, "disc")  # which brings the layer weights
            response = client.post("/detect", files=files(part(9, scratched=True)))
            scores.append(response.json()["results"][0]["score"])
    assert scores[0] == scores[1] == scores[2]


def test_compilation_is_ignored_by_the_built_in_encoder(tmp_path: Path) -> None:
    with TestClient(
        create_app(AppState.start(settings(tmp_path, compile_encoder=True, batch_size=3))), base_url="http://localhost"
    ) as client:
        assert client.get("/readyz").status_code == 200


def test_damage_of_a_mapped_segment_is_reported_after_the_start(tmp_path: Path) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as client:
        onboard(client, "disc", part(1))
    [segment] = (tmp_path / "segments").iterdir()
    content = bytearray(segment.read_bytes())
    content[-5] ^= 1
    segment.write_bytes(content)
    with TestClient(
        create_app(AppState.start(settings(tmp_path, mmap_codes=True))), base_url="http://localhost"
    ) as client:
        eventually(lambda: client.get("/version").json()["corrupt_segments"] == [segment.name], "it is found")
        assert "damaged segment" in client.get("/readyz").json()["detail"]
        assert "touchstone_unverified_segments 0.0" in client.get("/metrics").text
