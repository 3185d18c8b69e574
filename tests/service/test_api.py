"""Workflows of lines, engineers and operators over HTTP, with the real encoder, memory and database."""

from __future__ import annotations

import base64
import csv
import io

import cv2
import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from service.background.geometry_changes import GeometryChanges
from tests.helpers.http_service import check_problem, files, onboard, wait_until_calibrated
from tests.helpers.part_images import part, shifted, varied


def test_good_parts_pass_and_scratched_ones_are_rejected_with_region_and_evidence(taught: TestClient) -> None:
    good = taught.post("/detect", files=files(*(part(seed) for seed in range(100, 110)))).json()
    bad = taught.post("/detect", files=files(*(part(seed, scratched=True) for seed in range(200, 210)))).json()
    counted = taught.get("/categories/disc").json()["calibration"]["references"]
    assert counted >= 19  # as many as a rate of 5 % takes: a few discs lie so alike that they count once
    assert sum(result["verdict"] == "normal" for result in good["results"]) >= 8
    rejected = [result for result in bad["results"] if result["verdict"] == "anomalous"]
    assert len(rejected) >= 8  # on a grid as small as this, a scratch can make a whole image unfamiliar
    assert all(result["verdict"] != "normal" for result in bad["results"])
    for result in rejected:
        assert result["category"] == "disc"
        assert result["score"] > result["threshold"]
        assert result["p_value"] == pytest.approx(1 / (counted + 1))
        x, y, width, height = result["regions"][0]["box"]
        assert 0 < x + width / 2 < 160
        assert 0 < y + height / 2 < 144
        evidence = result["regions"][0]["nearest_patch"]
        assert taught.get(f"/references/{evidence['reference_id']}").json()["category"] == "disc"
        assert evidence["distance"] > 0
        left, top, width, height = evidence["box"]
        assert 0 <= left < left + width <= 1
        assert 0 <= top < top + height <= 1
        assert [reference["similarity"] for reference in result["references"]] == sorted(
            (reference["similarity"] for reference in result["references"]), reverse=True
        )


def test_the_same_image_gets_the_same_answer_alone_and_among_others(taught: TestClient) -> None:
    image = part(300, scratched=True)
    alone = taught.post("/detect", files=files(image)).json()["results"][0]
    among = taught.post("/detect", files=files(*(part(seed) for seed in range(5)), image)).json()["results"][5]
    assert among["score"] == pytest.approx(alone["score"], abs=1e-6)
    assert among["verdict"] == alone["verdict"]
    assert among["version"] == alone["version"]


def test_maps_and_overlays_come_when_asked_for(taught: TestClient) -> None:
    image = part(301, scratched=True)
    raw = taught.post("/detect", data={"map": "raw", "overlay": "true"}, files=files(image)).json()["results"][0]
    png = taught.post("/detect", data={"map": "png"}, files=files(image)).json()["results"][0]
    exact = np.load(io.BytesIO(base64.b64decode(raw["map"]["data"])))
    assert exact.shape == (256, 256)
    assert exact.dtype == np.float32
    top = np.sort(exact.ravel().astype(np.float64))[-655:].mean()
    assert top == pytest.approx(raw["score"], abs=1e-6)
    levels = cv2.imdecode(np.frombuffer(base64.b64decode(png["map"]["data"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16
    np.testing.assert_allclose(levels / 65535 * png["map"]["scale"], exact, atol=2e-5)
    stored = taught.get(f"/inspections/{png['id']}/map.png")
    assert stored.headers["content-type"] == "image/png"
    assert stored.content == base64.b64decode(png["map"]["data"])
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(raw["overlay"]), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (144, 160, 3)
    assert png["overlay"] is None


def test_a_given_category_is_the_only_one_compared_with(taught: TestClient) -> None:
    result = taught.post("/detect", data={"category": "plate"}, files=files(part(1))).json()["results"][0]
    assert result["category"] == "plate"
    assert {reference["category"] for reference in result["references"]} == {"plate"}
    pooled = taught.post("/detect", files=files(part(1))).json()["results"][0]
    assert pooled["category"] == "disc"
    assert result["score"] > pooled["score"]


def test_too_few_references_for_the_rate_are_reported(taught: TestClient) -> None:
    result = taught.post("/detect", files=files(part(50, kind=1))).json()["results"][0]
    assert (result["category"], result["verdict"]) == ("plate", "uncalibrated")
    assert result["threshold"] is not None
    calibration = taught.get("/categories/plate").json()["calibration"]
    # Some of these plates are drawn alike but for noise: those are duplicates, and do not count.
    assert calibration["references"] + calibration["duplicates"] == 6
    assert (calibration["rate_supported"], calibration["references_needed"]) == (False, 99)
    assert f"there are {calibration['references']}. Set false_reject_rate to" in calibration["advice"]
    assert result["advice"] == calibration["advice"]


def test_onboarding_again_changes_nothing(client: TestClient) -> None:
    images = [part(seed) for seed in range(3)]
    first = client.post("/references", data={"category": "disc"}, files=files(*images, images[0])).json()
    assert [result["status"] for result in first["results"]] == ["added", "added", "added", "duplicate"]
    assert first["results"][3]["reference_id"] == first["results"][0]["reference_id"]
    repeated = client.post("/references", data={"category": "disc"}, files=files(*images)).json()
    assert (repeated["added"], repeated["duplicates"], repeated["version"]) == (0, 3, first["version"])
    assert (first["images_until_outlier_check"], repeated["images_until_outlier_check"]) == (5, None)
    other = client.post("/references", data={"category": "copy"}, files=files(*images)).json()
    assert other["added"] == 3


def test_bad_images_are_refused_one_by_one_and_the_rest_is_added(client: TestClient) -> None:
    body = files(part(1), b"not an image", part(2)[:200])
    response = client.post("/references", data={"category": "disc"}, files=body)
    results = response.json()["results"]
    assert [result["status"] for result in results] == ["added", "rejected", "rejected"]
    assert results[1]["reason"] == "not-an-image"
    assert results[2]["detail"]
    assert client.get("/references").json()["references"][0]["filename"] == "0.png"


def test_references_can_be_listed_paged_seen_and_taken_back(client: TestClient) -> None:
    images = [part(seed) for seed in range(5)]
    ids = onboard(client, "disc", *images)
    first = client.get("/references", params={"category": "disc", "limit": 3}).json()
    rest = client.get("/references", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [reference["id"] for reference in first["references"] + rest["references"]] == ids
    assert rest["next_cursor"] is None
    image = client.get(f"/references/{ids[2]}/image")
    assert (image.content, image.headers["content-type"]) == (images[2], "image/png")
    before = client.get("/version").json()
    gone = client.delete(f"/references/{ids[2]}").json()
    assert gone["version"] == before["version"] + 1
    assert client.get("/version").json()["references"] == 4
    assert client.delete(f"/references/{ids[2]}").json() == gone
    assert client.get(f"/references/{ids[2]}").json()["removed_at"] is not None
    assert onboard(client, "disc", images[2]) != [ids[2]]


def test_removing_a_reference_changes_what_is_compared_and_adding_it_undoes_that(client: TestClient) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(4)))
    odd = part(9, scratched=True)
    wait_until_calibrated(client, "disc")  # layers weigh as the references say
    score = client.post("/detect", files=files(odd)).json()["results"][0]["score"]
    [added] = onboard(client, "disc", odd)
    assert client.post("/detect", files=files(odd)).json()["results"][0]["score"] == pytest.approx(0, abs=1e-3)
    client.delete(f"/references/{added}")
    wait_until_calibrated(client, "disc")
    assert client.post("/detect", files=files(odd)).json()["results"][0]["score"] == pytest.approx(score, abs=1e-6)


def test_a_smaller_pooled_share_raises_the_score_of_a_small_defect(client: TestClient) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(4)))
    odd = files(part(9, scratched=True))
    wait_until_calibrated(client, "disc")
    before = client.post("/detect", files=odd).json()["results"][0]["score"]
    changed = client.patch("/categories/disc", json={"pooled_share": 0.0005}).json()
    assert changed["settings"]["pooled_share"] == 0.0005
    wait_until_calibrated(client, "disc")
    assert client.post("/detect", files=odd).json()["results"][0]["score"] > before
    assert client.patch("/categories/disc", json={"pooled_share": 0}).status_code == 422


def test_settings_change_what_they_name_and_nothing_else(client: TestClient) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(4)))
    weights = [0.0, 0.0, 0.5, 0.5]
    changed = client.patch("/categories/disc", json={"k": 3, "rho": 0, "layer_weights": weights}).json()["settings"]
    assert changed == {
        "k": 3,
        "rho": 0,
        "layer_weights": weights,
        "false_reject_rate": 0.01,
        "threshold": None,
        "unfamiliar_rate": 0.001,
        "region_of_interest": None,
        "refuse": [],
        "bit_depth": None,
        "pooled_share": 0.01,
        "defect_classes": [],
        "review_band": 0.05,
        "review_feedback": True,
    }
    assert client.patch("/categories/disc", json={"threshold": 0.0001}).json()["settings"]["k"] == 3
    result = client.post("/detect", files=files(part(77))).json()["results"][0]
    assert (result["verdict"], result["threshold"]) == ("anomalous", 0.0001)
    assert len(result["references"]) == 3
    assert client.patch("/categories/disc", json={"threshold": None}).json()["settings"]["threshold"] is None


def test_where_parts_lie_is_told_from_references(client: TestClient) -> None:
    onboard(client, "disc", *(varied(seed) for seed in range(5)))
    onboard(client, "web", *(shifted(seed) for seed in range(8)))
    onboard(client, "new", part(1))
    aligned = client.get("/categories/disc/alignment").json()
    anywhere = client.get("/categories/web/alignment").json()
    assert (aligned["references"], aligned["advice"]) == (5, None)
    assert anywhere["references"] == 8
    assert anywhere["distance_left"] < 0.75 < aligned["distance_left"] <= 1
    assert "255" in anywhere["advice"]
    client.patch("/categories/web", json={"rho": 255}).raise_for_status()
    assert client.get("/categories/web/alignment").json() == {**anywhere, "advice": None}
    nothing = {"references": 0, "distance_left": None, "distance_in_place": None, "advice": None}
    assert client.get("/categories/new/alignment").json() == nothing
    check_problem(client.get("/categories/none/alignment"), 404, "not-found")


def test_parts_may_lie_anywhere(client: TestClient) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(4)))
    sent = files(part(77))
    before = client.post("/detect", files=sent).json()["results"][0]
    assert client.patch("/categories/disc", json={"rho": 255, "threshold": 0.0001}).json()["settings"]["rho"] == 255
    wait_until_calibrated(client, "disc")
    after = client.post("/detect", files=sent).json()["results"][0]
    assert 0 < after["score"] < before["score"]
    retrieved = [reference["reference_id"] for reference in after["references"]]
    assert after["regions"][0]["nearest_patch"]["reference_id"] in retrieved
    onboard(client, "disc", part(5))  # compared with those that are there
    wait_until_calibrated(client, "disc")

    finer = {"geometry": {"cells": 5000}}
    refused = check_problem(client.patch("/categories/disc", json=finer), 422, "invalid-request")
    assert "at most 4096 cells" in refused["detail"]
    client.patch("/categories/disc", json={**finer, "rho": 1}).raise_for_status()
    refused = check_problem(client.patch("/categories/disc", json={"rho": 255}), 422, "invalid-request")
    assert "at most 4096 cells" in refused["detail"]


def test_a_change_of_geometry_is_checked_with_the_settings_that_it_comes_with(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(4)))
    monkeypatch.setattr(GeometryChanges, "round", lambda *_: None)  # changes stay under way

    def patch(**changes: object) -> httpx.Response:
        return client.patch("/categories/disc", json=changes)

    def refused(response: httpx.Response) -> str:
        return str(check_problem(response, 422, "invalid-request")["detail"])

    patch(geometry={"cells": 5000}).raise_for_status()
    assert refused(patch(rho=255)).endswith("That is the geometry that the category is about to get.")
    patch(rho=255, geometry={"cells": 49}).raise_for_status()  # in the place of the one that is too fine
    assert patch(rho=255).json()["settings"]["rho"] == 255

    left = {"polygons": [[[0, 0], [0.4, 0], [0.4, 1], [0, 1]]]}
    right = {"polygons": [[[0.6, 0], [1, 0], [1, 1], [0.6, 1]]]}
    right_half = {"resized": [224, 112], "window": [112, 0, 112, 112]}
    patch(region_of_interest=left).raise_for_status()
    assert "covers half of no grid cell. That is the geometry" in refused(patch(geometry=right_half))
    changed = patch(geometry=right_half, region_of_interest=right).raise_for_status().json()
    assert changed["geometry_change"]["geometry"]["window"] == right_half["window"]
    assert "covers half of no grid cell. That is the geometry" in refused(patch(region_of_interest=left))
    patch(geometry={"resized": [128, 128], "window": [8, 8, 112, 112]}, region_of_interest=left).raise_for_status()


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"rho": -1},
        {"rho": 17},
        {"rho": 254},
        {"rho": 256},
        {"false_reject_rate": 0},
        {"false_reject_rate": 1},
        {"threshold": -1},
        {"layer_weights": [1, 1]},
        {"layer_weights": [0, 0, 0, 0]},
        {"layer_weights": [1e308, 1e308, 1e308, 1e308]},
        {"layer_weights": [1, 1, 1, -1]},
        {"kk": 3},
    ],
)
def test_settings_out_of_range_are_refused_and_change_nothing(taught: TestClient, wrong: dict[str, object]) -> None:
    before = taught.get("/categories/plate").json()["settings"]
    response = taught.patch("/categories/plate", json=wrong)
    assert response.status_code == 422
    assert response.json()["type"] == "/problems/invalid-request"
    assert next(iter(wrong)) in response.json()["detail"]
    assert taught.get("/categories/plate").json()["settings"] == before


def test_a_category_can_be_taken_back_and_begun_again(client: TestClient) -> None:
    onboard(client, "disc", part(1), part(2))
    client.patch("/categories/disc", json={"k": 7})
    assert client.delete("/categories/disc").status_code == 200
    assert client.get("/categories").json()["categories"] == []
    assert client.delete("/categories/disc").status_code == 404
    assert client.post("/detect", files=files(part(1))).status_code == 409
    onboard(client, "disc", part(1))
    assert client.get("/categories/disc").json()["settings"]["k"] == 150


def test_calibration_follows_the_references(client: TestClient) -> None:
    ids = onboard(client, "disc", *(part(seed) for seed in range(3)))
    first = wait_until_calibrated(client, "disc")
    assert first["references"] == 3
    onboard(client, "disc", part(50, scratched=True))
    second = wait_until_calibrated(client, "disc")
    assert second["references"] == 4
    assert second["threshold"] > first["threshold"]  # type: ignore[operator]
    client.delete(f"/references/{ids[0]}")
    client.delete(f"/references/{ids[1]}")
    client.delete(f"/references/{ids[2]}")
    assert client.get("/categories/disc").json()["calibration"]["state"] == "none"


def test_history_can_be_searched_paged_and_exported(taught: TestClient) -> None:
    body = {"part_id": "=1+1", "station": "press-4"}
    made = [taught.post("/detect", data=body, files=files(part(seed))).json()["results"][0] for seed in range(3)]
    page = taught.get("/inspections", params={"station": "press-4", "limit": 2}).json()
    rest = taught.get("/inspections", params={"station": "press-4", "cursor": page["next_cursor"]}).json()
    assert [inspection["id"] for inspection in page["inspections"] + rest["inspections"]] == [
        inspected["id"] for inspected in made
    ][::-1]
    assert taught.get("/inspections", params={"station": "nowhere"}).json()["inspections"] == []
    assert taught.get("/inspections", params={"station": "press-4", "until": made[0]["at"]}).json()["inspections"] == []
    rows = list(csv.DictReader(io.StringIO(taught.get("/inspections?format=csv&station=press-4").text)))
    assert [row["id"] for row in rows] == [inspected["id"] for inspected in made][::-1]
    assert {row["part_id"] for row in rows} == {"'=1+1"}  # a spreadsheet must not run it
    one = taught.get(f"/inspections/{made[1]['id']}").json()
    assert one["score"] == made[1]["score"]
    assert taught.get(f"/inspections/{made[1]['id']}/image").content == part(1)


def test_this_is_fine_makes_a_reference_and_can_be_undone(client: TestClient) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(4)))
    odd = part(9, scratched=True)
    wait_until_calibrated(client, "disc")  # scores are weighed by layer from then on
    inspected = client.post("/detect", files=files(odd)).json()["results"][0]
    path = f"/inspections/{inspected['id']}/feedback"
    judged = client.post(path, json={"label": "good", "confirm": True}).json()
    assert judged["label"] == "good"
    promoted = judged["promoted_reference_id"]
    assert client.get(f"/references/{promoted}/image").content == odd
    assert client.post("/detect", files=files(odd)).json()["results"][0]["score"] == pytest.approx(0, abs=1e-3)
    assert client.post(path, json={"label": "good"}).json()["promoted_reference_id"] == promoted
    wait_until_calibrated(client, "disc")  # or the calibration with it may be finished after it is taken back
    undone = client.post(path, json={"label": "none"}).json()
    assert (undone["label"], undone["promoted_reference_id"]) == (None, None)
    wait_until_calibrated(client, "disc")
    repeated = client.post("/detect", files=files(odd)).json()["results"][0]
    assert repeated["score"] == pytest.approx(inspected["score"], abs=1e-6)
    marked = client.post(path, json={"label": "defect"}).json()
    assert (marked["label"], marked["promoted_reference_id"]) == ("defect", None)
    assert client.get("/inspections", params={"label": "defect"}).json()["inspections"][0]["id"] == inspected["id"]


def test_undoing_a_promotion_leaves_a_reference_that_was_there_before(client: TestClient) -> None:
    ids = onboard(client, "disc", *(part(seed) for seed in range(3)))
    inspected = client.post("/detect", files=files(part(1))).json()["results"][0]
    path = f"/inspections/{inspected['id']}/feedback"
    assert client.post(path, json={"label": "good"}).json()["promoted_reference_id"] is None
    client.post(path, json={"label": "none"})
    assert [reference["id"] for reference in client.get("/references").json()["references"]] == ids


def test_version_says_plainly_what_the_encoder_is(taught: TestClient) -> None:
    version = taught.get("/version").json()
    assert version["encoder"]["name"] == "touchstone-filterbank"
    assert "fixed filters alone" in version["encoder"]["note"]
    assert len(version["encoder"]["fingerprint"]) == 64
    assert version["references"] == 30
    assert version["limits"] == {
        "formats": ["JPEG", "PNG", "BMP", "TIFF", "WEBP"],
        "max_images": 64,
        "max_request_bytes": 512 << 20,
        "max_image_bytes": 64 << 20,
        "max_pixels": 64_000_000,
        "max_side": 16_384,
        "min_side": 16,
    }
    assert taught.get("/healthz").json() == {"status": "live"}
    ready = taught.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["forward_ms"] > 0


def test_every_route_documents_its_answers_and_errors(taught: TestClient) -> None:
    described = taught.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation.get("description"), where
            assert {"200", "422", "500"} <= operation["responses"].keys(), where
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], f"{where} {status}"
    assert "images" in str(described["paths"]["/detect"]["post"]["requestBody"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/categories/disc", {"k": True}),
        ("PATCH", "/categories/disc", {"k": "3"}),
        ("PATCH", "/categories/disc", {"false_reject_rate": "0.1"}),
        ("PATCH", "/categories/disc", {"threshold": True}),
        ("PATCH", "/categories/disc", {"bit_depth": "12"}),
        ("PATCH", "/categories/disc", {"layer_weights": [True, "1"]}),
        ("PATCH", "/categories/disc", {"region_of_interest": {"polygons": [[[False, "0"], [1, 0], [1, 1]]]}}),
        ("POST", "/categories/disc/preview", {"rho": "1"}),
        ("POST", "/inspections/x/feedback", {"label": "good", "confirm": 1}),
        ("POST", "/inspections/x/feedback", {"label": "good", "confirm": "yes"}),
        ("POST", "/keys", {"name": "a", "role": "line", "requests_per_minute": "5"}),
        ("POST", "/keys", {"name": "a", "role": "line", "expires_in_days": True}),
    ],
)
def test_json_of_another_type_is_refused_and_not_guessed_at(
    taught: TestClient, method: str, path: str, body: dict[str, object]
) -> None:
    before = taught.get("/categories/disc").json()["settings"]
    response = taught.request(method, path, json=body)
    assert response.status_code == 422, response.text
    assert taught.get("/categories/disc").json()["settings"] == before


def test_a_whole_number_may_be_written_with_a_point(taught: TestClient) -> None:
    before = taught.get("/categories/plate").json()["settings"]["k"]
    assert taught.patch("/categories/plate", json={"k": 7.0}).json()["settings"]["k"] == 7
    assert taught.patch("/categories/plate", json={"k": before}).status_code == 200
