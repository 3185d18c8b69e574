"""Verdicts, screening, regions of interest and drift as engineers and operators meet them over HTTP."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from indexer.imaging.encode import encode_png
from service.app import create_app
from service.state import AppState
from tests.helpers.commands import touchstone
from tests.helpers.http_service import files, onboard, running_service, settings, teach, wait_until_calibrated
from tests.helpers.part_images import part, plain, varied


def category(client: TestClient, name: str = "disc") -> dict[str, Any]:
    view: dict[str, Any] = client.get(f"/categories/{name}").json()
    return view


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service that knows 24 discs and 24 plates."""
    with running_service(tmp_path_factory.mktemp("data")) as running:
        teach(running, "disc", *(varied(seed) for seed in range(24)), rate=0.05)
        teach(running, "plate", *(part(seed, kind=1) for seed in range(24)), rate=0.05)
        yield running


def test_an_image_unlike_all_references_is_unfamiliar_and_never_normal(line: TestClient) -> None:
    rng = np.random.default_rng(0)
    covered = encode_png(np.clip(rng.normal(5, 3, (144, 160, 3)), 0, 255).astype(np.uint8))
    turned = encode_png(np.ascontiguousarray(cv2.imdecode(np.frombuffer(part(3, kind=1), np.uint8), 1)[::-1, ::-1]))
    for image in (plain(0), plain(255), plain(128), covered, part(3, kind=1), turned):
        result = line.post("/detect", data={"category": "disc"}, files=files(image)).json()["results"][0]
        assert result["verdict"] == "unfamiliar"
        assert result["regions"] == []
        novelty = result["novelty"]
        assert novelty["statistic"] > novelty["threshold"]
        assert line.get(f"/inspections/{result['id']}").json()["novelty"] == novelty
    fresh = line.post("/detect", data={"category": "disc"}, files=files(*(varied(seed) for seed in range(100, 120))))
    verdicts = [result["verdict"] for result in fresh.json()["results"]]
    assert verdicts.count("unfamiliar") <= 2
    assert verdicts.count("normal") >= 16


def test_an_uncalibrated_answer_says_how_many_references_it_takes(line: TestClient) -> None:
    known = line.patch("/categories/disc", json={"false_reject_rate": 0.01}).json()["calibration"]
    headers = {"Idempotency-Key": "uncalibrated"}
    for _ in range(2):  # the second time from the history
        result = line.post("/detect", files=files(varied(600)), headers=headers).json()["results"][0]
        assert (result["verdict"], result["threshold"]) == ("uncalibrated", known["threshold"])
        assert result["references_needed"] == known["references_needed"] == 99
    line.patch("/categories/disc", json={"false_reject_rate": 0.05})
    calibrated = line.post("/detect", files=files(varied(600))).json()["results"][0]
    assert (calibrated["verdict"], calibrated["references_needed"]) == ("normal", None)
    assert calibrated["advice"] is None


def test_without_a_category_an_image_is_searched_where_its_threshold_was_made(line: TestClient) -> None:
    """K is 150: the pool holds 48 references, 24 of which have no say in the other category's calibration."""
    for image, name in ((varied(400), "disc"), (part(401, kind=1), "plate"), (varied(402, scratched=True), "disc")):
        form = {"map": "raw"}
        named = line.post("/detect", data={**form, "category": name}, files=files(image)).json()["results"][0]
        unnamed = line.post("/detect", data=form, files=files(image)).json()["results"][0]
        same = ("category", "verdict", "score", "p_value", "threshold", "map", "novelty", "references", "regions")
        assert [unnamed[field] for field in same] == [named[field] for field in same]
        assert unnamed["category"] == name


def test_a_category_that_fits_better_is_named(line: TestClient) -> None:
    result = line.post("/detect", data={"category": "disc"}, files=files(part(500, kind=1))).json()["results"][0]
    better = result["alternative_category"]
    assert better["category"] == "plate"
    assert better["similarity"] > better["own_similarity"]
    assert better["mean_distance"] < better["own_mean_distance"]
    there = line.post("/detect", data={"category": "plate"}, files=files(part(500, kind=1))).json()["results"][0]
    assert better["score"] == pytest.approx(there["score"], abs=1e-6)
    assert there["alternative_category"] is None


def test_screening_tells_what_is_wrong_with_each_image_and_keeps_it(line: TestClient) -> None:
    image = cv2.imdecode(np.frombuffer(varied(700), np.uint8), cv2.IMREAD_COLOR)
    blurred = encode_png(cv2.GaussianBlur(image, (0, 0), 5)[..., ::-1])
    noisy = encode_png(
        np.clip(image + np.random.default_rng(0).normal(0, 0.6, image.shape), 0, 255)[..., ::-1].astype(np.uint8)
    )
    scratched = varied(701, scratched=True)
    sent = [varied(700), noisy, scratched, blurred, encode_png(image[..., ::-1] // 3), part(900, kind=1), varied(702)]
    response = line.post("/references", data={"category": "disc"}, files=files(*sent)).json()
    assert [result["status"] for result in response["results"]] == ["added"] * 7
    findings = [{finding["kind"]: finding for finding in result["findings"]} for result in response["results"]]
    assert findings[0] == findings[6] == {}
    assert response["images_until_outlier_check"] == 0
    assert findings[1]["near_duplicate"]["image_index"] == 0
    assert findings[2]["outlier"]["value"] > findings[2]["outlier"]["limit"] > findings[2]["outlier"]["typical"]
    assert "blurred" in findings[3]
    assert "too_dark" in findings[4]
    assert findings[5]["other_category"]["category"] == "plate"
    assert "framing" in findings[5]
    stored = line.get(f"/references/{response['results'][2]['reference_id']}").json()
    assert stored["findings"] == response["results"][2]["findings"]
    for result in response["results"]:
        line.delete(f"/references/{result['reference_id']}")
    wait_until_calibrated(line, "disc")


def test_screening_refuses_what_the_setting_or_the_request_says(line: TestClient) -> None:
    sent = [varied(710), plain(3)]
    line.patch("/categories/disc", json={"refuse": ["too_dark"]})
    response = line.post("/references", data={"category": "disc"}, files=files(*sent)).json()
    assert [result["status"] for result in response["results"]] == ["added", "rejected"]
    assert response["results"][1]["reason"] == "too_dark"
    assert (response["added"], response["rejected"]) == (1, 1)
    line.delete(f"/references/{response['results'][0]['reference_id']}")
    overridden = line.post("/references", data={"category": "disc", "refuse": "none"}, files=files(plain(3))).json()
    assert overridden["results"][0]["status"] == "added"
    line.delete(f"/references/{overridden['results'][0]['reference_id']}")
    every = line.post("/references", data={"category": "disc", "refuse": "too_dark, outlier"}, files=files(plain(3)))
    assert every.json()["results"][0]["status"] == "rejected"
    wrong = line.post("/references", data={"category": "disc", "refuse": "ugly"}, files=files(plain(3)))
    assert wrong.status_code == 422
    line.patch("/categories/disc", json={"refuse": []})
    wait_until_calibrated(line, "disc")


def test_a_defect_outside_the_region_of_interest_is_not_seen(line: TestClient) -> None:
    scratched = varied(720, scratched=True)
    before = line.post("/detect", data={"category": "disc"}, files=files(scratched)).json()["results"][0]
    assert before["verdict"] == "anomalous"
    right = [[[0.72, 0.0], [1.0, 0.0], [1.0, 1.0], [0.72, 1.0]]]
    changed = line.patch("/categories/disc", json={"region_of_interest": {"polygons": right}}).json()
    assert changed["settings"]["region_of_interest"] == {"polygons": right, "ignored": [], "mask": False}
    assert changed["geometry"]["inspected"]["fraction"] == pytest.approx(0.19, abs=0.01)
    wait_until_calibrated(line, "disc")
    aside = line.post("/detect", data={"category": "disc"}, files=files(scratched)).json()["results"][0]
    assert aside["verdict"] == "normal"
    mask = np.zeros((60, 80, 3), np.uint8)
    mask[:, :50] = 255
    put = line.put("/categories/disc/region-of-interest", files=files(encode_png(mask)))
    [outline] = put.json()["settings"]["region_of_interest"]["polygons"]
    edge = pytest.approx(50 / 80, abs=0.01)
    assert sorted(outline) == [[0, 0], [0, 1], [edge, 0], [edge, 1]]
    drawn = cv2.imdecode(
        np.frombuffer(line.get("/categories/disc/region-of-interest.png").content, np.uint8), cv2.IMREAD_GRAYSCALE
    )
    assert drawn.shape == (256, 256)
    assert drawn[128, 150] == 255
    assert drawn[128, 170] == 0
    wait_until_calibrated(line, "disc")
    inside = line.post("/detect", data={"category": "disc"}, files=files(scratched)).json()["results"][0]
    assert inside["verdict"] == "anomalous"
    circle = [[0.5 + 0.4 * np.cos(angle), 0.5 + 0.4 * np.sin(angle)] for angle in np.linspace(0, 6, 1000)]
    whole = [[0, 0], [1, 0], [1, 1], [0, 1]]
    for wrong in (
        {"polygons": []},
        {"polygons": [[[0, 0], [1, 1]]]},
        {"polygons": [[[0, 0], [0.01, 0], [0, 0.01]]]},
        {"polygons": [right[0]], "ignored": [whole]},
        {"ignored": [circle] * 5},
        {"ignored": [whole[:3]] * 65},
    ):
        refused = line.patch("/categories/disc", json={"region_of_interest": wrong})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-request")
    ones = mask[..., 0].astype(np.uint16) // 255
    for same in (ones.astype(np.uint8), ones, ones * 65535):  # any value but 0 is inside, in 8 bits and in 16
        line.patch("/categories/disc", json={"region_of_interest": None})
        assert line.put("/categories/disc/region-of-interest", files=files(encode_png(same))).status_code == 200
        returned = line.get("/categories/disc/region-of-interest.png").content
        assert (cv2.imdecode(np.frombuffer(returned, np.uint8), cv2.IMREAD_GRAYSCALE) == drawn).all()
    specks = np.kron(np.tile(np.eye(2, dtype=np.uint8), (10, 10)), np.full((15, 15), 255, np.uint8))
    specks[::15] = 0  # so that none touches another
    for data, reason in (
        (plain(0), "leaves nothing to inspect"),
        (encode_png(specks), "more than 64"),
    ):
        refused = line.put("/categories/disc/region-of-interest", files=files(data))
        assert (refused.status_code, reason in refused.json()["detail"]) == (422, True)
    assert (
        line.put("/categories/disc/region-of-interest", files=files(plain(255))).json()["settings"][
            "region_of_interest"
        ]
        is None
    )
    misnamed = line.put("/categories/disc/region-of-interest", files={"mask": plain(255)}).json()
    assert misnamed["detail"] == "Unexpected field 'mask': send files under 'images'."
    line.patch("/categories/disc", json={"region_of_interest": None})
    wait_until_calibrated(line, "disc")


def test_what_is_ignored_is_dimmed_counted_and_remembered(line: TestClient) -> None:
    left = [[0.0, 0.0], [0.7, 0.0], [0.7, 1.0], [0.0, 1.0]]
    ignoring = line.patch("/categories/disc", json={"region_of_interest": {"ignored": [left]}}).json()
    assert ignoring["geometry"]["inspected"]["fraction"] == pytest.approx(0.21, abs=0.01)
    wait_until_calibrated(line, "disc")
    scratched = varied(720, scratched=True)
    form = {"category": "disc", "overlay": "true"}
    result = line.post("/detect", data=form, files=files(scratched)).json()["results"][0]
    assert result["verdict"] == "normal"
    assert result["inspected"]["region"] == {"polygons": [], "ignored": [left], "mask": False}
    assert result["inspected"]["fraction"] == pytest.approx(0.21, abs=0.01)
    overlay = cv2.imdecode(np.frombuffer(base64.b64decode(result["overlay"]), np.uint8), cv2.IMREAD_COLOR)
    image = cv2.imdecode(np.frombuffer(scratched, np.uint8), cv2.IMREAD_COLOR)
    width = image.shape[1]
    np.testing.assert_allclose(overlay[:, : width // 2], image[:, : width // 2] * 0.6, atol=1)
    inside = slice(width * 3 // 4, width * 7 // 8)
    assert overlay[20:-20, inside].mean() > 0.8 * image[20:-20, inside].mean()
    line.patch("/categories/disc", json={"region_of_interest": None})
    wait_until_calibrated(line, "disc")
    assert line.get(f"/inspections/{result['id']}").json()["inspected"] == result["inspected"]


def shifted(seed: int) -> bytes:
    """A good part as a camera sees it that has been knocked by a few pixels."""
    image = cv2.imdecode(np.frombuffer(varied(seed), np.uint8), cv2.IMREAD_COLOR)
    return encode_png(np.ascontiguousarray(np.roll(image, (5, 4), (0, 1))[..., ::-1]))


def test_drift_is_flagged_counted_once_and_survives_a_restart(tmp_path: Path) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as first:
        onboard(first, "disc", *(varied(seed) for seed in range(60)))
        wait_until_calibrated(first, "disc")
        assert category(first)["drift"] is None
        good = files(*(varied(seed) for seed in range(100, 130)))
        first.post("/detect", data={"category": "disc"}, files=good)
        steady = category(first)["drift"]
        assert (steady["state"], steady["inspections"], sum(steady["scores"]["p_values"])) == ("steady", 30, 30)
        # Another process on the same data counts in the same test.
        with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as second:
            assert category(second)["drift"] == steady
            wait_until_calibrated(second, "disc")
            scratched = files(*(varied(seed, scratched=True) for seed in range(200, 260)))
            second.post("/detect", data={"category": "disc"}, files=scratched)
            first.post("/detect", data={"category": "disc"}, files=good)
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as restarted:
        drift = category(restarted)["drift"]
        assert (drift["state"], drift["inspections"]) == ("defects", 120)
        assert drift["flagged_at"] is not None
        assert drift["scores"]["max_evidence"] >= drift["alarm"] > drift["scene"]["max_evidence"]
        moved_by = restarted.get("/categories/disc/drift").json()
        assert moved_by["drift"] == drift
        assert {listed["filename"] for listed in moved_by["parts"]} <= {f"{seed}.png" for seed in range(60)}
        assert [listed["p_value"] for listed in moved_by["parts"]] == pytest.approx([1 / 61] * 12, abs=0.01)
        assert restarted.post("/categories/disc/drift/restart").json()["drift"] is None
        assert restarted.get("/categories/disc/drift").json() == {"drift": None, "parts": []}
        wait_until_calibrated(restarted, "disc")
        restarted.post("/detect", data={"category": "disc"}, files=files(*(shifted(seed) for seed in range(300, 340))))
        assert category(restarted)["drift"]["state"] == "drifting"
        [first_part, *_] = restarted.get("/categories/disc/drift").json()["parts"]
        assert first_part["novelty"]["scene_p_value"] == pytest.approx(1 / 61, abs=0.01)
        assert restarted.get("/categories/nothing/drift").status_code == 404
        assert restarted.post("/categories/nothing/drift/restart").status_code == 404


def test_a_restart_finds_the_calibration_and_taking_a_reference_back_restores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as first:
        onboard(first, "disc", *(varied(seed) for seed in range(20)))
        before = wait_until_calibrated(first, "disc")
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as restarted:
        engine = restarted.app.state.app_state.engine
        monkeypatch.setattr(engine, "max_similarity", None)  # a search would fail
        assert wait_until_calibrated(restarted, "disc") == before
        monkeypatch.undo()
        rejected = restarted.post("/detect", data={"category": "disc"}, files=files(varied(300, scratched=True))).json()
        url = f"/inspections/{rejected['results'][0]['id']}/feedback"
        restarted.post(url, json={"label": "good", "confirm": True}).raise_for_status()
        with_it = wait_until_calibrated(restarted, "disc")
        assert with_it["references"] == 21
        assert with_it["threshold"] != before["threshold"]
        restarted.post(url, json={"label": "none"})
        restored = wait_until_calibrated(restarted, "disc")
        assert restored["threshold"] == pytest.approx(before["threshold"], abs=1e-6)
        assert restored["region_threshold"] == pytest.approx(before["region_threshold"], abs=1e-6)
        assert restored["unfamiliar"]["threshold"] == pytest.approx(before["unfamiliar"]["threshold"], abs=1e-4)
        assert restored["references"] == before["references"]


def test_what_was_indexed_is_calibrated_at_the_next_start_and_beside_a_running_service(tmp_path: Path) -> None:
    folder = tmp_path / "parts" / "disc"
    folder.mkdir(parents=True)

    def indexed(*seeds: int) -> None:
        for seed in seeds:
            (folder / f"{seed:03d}.png").write_bytes(varied(seed))
        done = touchstone("index", folder.parent, data=tmp_path / "data")
        assert done.exit_code == 0, done.stderr

    indexed(*range(12))
    with TestClient(create_app(AppState.start(settings(tmp_path / "data"))), base_url="http://localhost") as running:
        before = wait_until_calibrated(running, "disc")
        assert before["references"] == 12
        indexed(*range(12, 16))
        end = time.monotonic() + 60
        while (calibration := category(running)["calibration"])["references"] != 16 and time.monotonic() < end:
            time.sleep(0.05)
        assert (calibration["state"], calibration["references"]) == ("ready", 16)
        assert calibration["version"] > before["version"]
