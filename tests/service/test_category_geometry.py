"""Geometries of categories: the whole image by default, other aspect ratios by rule, changes atomically."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexer.domain.geometry import InputGeometry
from indexer.domain.reference import Reference
from indexer.imaging.encode import encode_png
from indexer.jobs.reencoder import Reencoded
from indexer.search import SearchCoroutine
from service.app import create_app
from service.background.geometry_changes import GeometryChanges
from service.inference.detection_jobs import recognise
from service.inference.worker import JobContext
from service.settings import Settings
from service.state import AppState
from tests.helpers.commands import touchstone
from tests.helpers.http_service import files, onboard, wait_until_calibrated
from tests.helpers.metrics import scrape, value
from tests.helpers.new_catalogue import new_data_folder
from tests.helpers.part_images import PLACES, part, plate
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import PATIENCE, eventually

UNSIZED = {"RESIZE": "", "CROP": "", "ENCODER": "filterbank"}


def service(data: Path, **more: object) -> TestClient:
    """A service at the default sizes, with the quick encoder."""
    if "database_url" not in more:
        new_data_folder(data)
    running = AppState.start(Settings(data=data, device="cpu", encoder="filterbank", **more))  # type: ignore[arg-type]
    return TestClient(create_app(running), base_url="http://localhost")


def detect(client: TestClient | httpx.Client, photo: bytes, **data: str) -> dict[str, object]:
    answer = client.post("/detect", data=data, files=files(photo))
    assert answer.status_code == 200, answer.text
    result: dict[str, object] = answer.json()["results"][0]
    return result


def square(seed: int) -> bytes:
    """A photo of a disc, as square as its sensor."""
    image = Image.open(io.BytesIO(part(seed))).resize((160, 160))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def banded(photo: bytes) -> bytes:
    """The photo with a black band over 6 % of its width, at the left edge."""
    image = np.array(Image.open(io.BytesIO(photo)))
    image[:, : round(0.06 * image.shape[1])] = 0
    return encode_png(image)


def wait_until_changed(client: TestClient | httpx.Client, name: str, seconds: float = 120) -> dict[str, object]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        category: dict[str, object] = client.get(f"/categories/{name}").json()
        if category["geometry_change"] is None:
            return category
        time.sleep(0.05)
    raise AssertionError(f"{name} was not changed in time: {category}")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that knows 16 wide plates and 12 square discs, each inspected in its own proportions."""
    with service(tmp_path_factory.mktemp("both")) as client:
        onboard(client, "plate", *(plate(seed) for seed in range(16)))
        onboard(client, "disc", *(square(seed) for seed in range(12)))
        for name in ("plate", "disc"):
            client.patch(f"/categories/{name}", json={"false_reject_rate": 0.08})
            wait_until_calibrated(client, name)
        yield client


def test_a_new_category_is_inspected_as_a_whole_in_the_proportions_of_its_references(both: TestClient) -> None:
    wide, disc = (both.get(f"/categories/{name}").json()["geometry"] for name in ("plate", "disc"))
    assert wide["grid"][1] / wide["grid"][0] == pytest.approx(640 / 360, rel=0.02)
    assert disc["grid"] == [28, 28]
    for each in (wide, disc):
        rows, columns = each["grid"]
        assert 700 <= rows * columns <= 784
        assert each["inspected"] == {"fraction": 1.0, "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]], "region": None}
        assert each["on_mismatch"] == "letterbox"


def test_a_band_at_the_edge_changes_score_and_verdict(both: TestClient) -> None:
    good = plate(300)
    before, after = (detect(both, each, category="plate") for each in (good, banded(good)))
    assert before["verdict"] == "normal"
    assert after["verdict"] in ("anomalous", "unfamiliar")
    assert after["score"] > 1.5 * before["score"]  # type: ignore[operator]


def test_without_a_category_each_image_is_recognised_and_inspected_as_its_category_is(both: TestClient) -> None:
    photos = [plate(301), square(50), banded(plate(302))]
    results = both.post("/detect", files=files(*photos)).json()["results"]
    assert [result["category"] for result in results] == ["plate", "disc", "plate"]
    for photo, result in zip(photos, results, strict=True):
        named = detect(both, photo, category=result["category"])
        assert (result["score"], result["verdict"]) == (named["score"], named["verdict"])
        assert result["inspected"]["fraction"] == 1.0


def test_a_category_with_another_grid_that_fits_better_is_named(both: TestClient) -> None:
    wrong = detect(both, square(51), category="plate")
    assert wrong["verdict"] != "normal"
    better = wrong["alternative_category"]
    right = detect(both, square(51), category="disc")
    assert better["category"] == "disc"  # type: ignore[index]
    assert better["score"] == pytest.approx(right["score"], abs=1e-6)  # type: ignore[index]
    assert better["mean_distance"] < better["own_mean_distance"]  # type: ignore[index]
    assert right["alternative_category"] is None


def test_a_comparison_with_another_category_that_fails_leaves_the_verdict(
    both: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(jobs: object, *_: object) -> object:
        def run(context: JobContext) -> SearchCoroutine[None]:
            raise RuntimeError("the card gave out")
            yield

        return run

    monkeypatch.setattr("service.inference.detection_jobs.DetectionJobs.comparison", fail)
    wrong, right = both.post("/detect", data={"category": "plate"}, files=files(square(51), plate(903))).json()[
        "results"
    ]
    assert (wrong["verdict"], wrong["alternative_category"]) == ("unfamiliar", None)
    assert right["verdict"] == "normal"


def test_an_unrecognisable_image_does_not_prevent_verdicts_of_the_others(
    both: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = iter(range(3))

    def recognise_two(context: JobContext) -> SearchCoroutine[str]:
        if next(jobs) == 1:
            raise RuntimeError("the card gave out")
        return (yield from recognise(context))

    monkeypatch.setattr("service.usecases.detect_images.recognise", recognise_two)
    results = both.post("/detect", files=files(plate(900), plate(901), square(902))).json()["results"]
    assert [result.get("category") for result in results] == ["plate", None, "disc"]
    assert results[1]["error"]["type"] == "/problems/internal"


def test_other_proportions_are_letterboxed_and_said_so_or_refused_but_never_squashed(both: TestClient) -> None:
    tall = Image.open(io.BytesIO(plate(303))).crop((0, 0, 300, 360))
    out = io.BytesIO()
    tall.save(out, "PNG")
    found = detect(both, out.getvalue(), category="plate")
    [notice] = [notice for notice in found["notices"] if notice["kind"] == "other_proportions"]  # type: ignore[attr-defined]
    assert "300 × 360" in notice["detail"]
    assert found["inspected"]["fraction"] == pytest.approx(1.0, abs=0.01)  # type: ignore[index]
    assert both.patch("/categories/plate", json={"geometry": {"on_mismatch": "refuse"}}).status_code == 200
    wait_until_changed(both, "plate")
    try:
        refused = both.post("/detect", data={"category": "plate"}, files=files(out.getvalue()))
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/other-proportions")
        assert "300 × 360" in refused.json()["detail"]
        # One image does not stop the others.
        mixed = both.post("/detect", data={"category": "plate"}, files=files(out.getvalue(), plate(304))).json()
        assert mixed["results"][0]["error"]["type"] == "/problems/other-proportions"
        assert mixed["results"][1]["category"] == "plate"
        added = both.post("/references", data={"category": "plate"}, files=files(out.getvalue(), plate(305))).json()
        assert [(result["status"], result["reason"]) for result in added["results"]] == [
            ("rejected", "other-proportions"),
            ("added", None),
        ]
    finally:
        both.patch("/categories/plate", json={"geometry": {"on_mismatch": "letterbox"}})
        wait_until_changed(both, "plate")
        wait_until_calibrated(both, "plate")


def test_an_image_of_other_proportions_that_shows_nothing_of_the_region_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    with service(tmp_path) as client:
        onboard(client, "disc", *(square(seed) for seed in range(4)))
        spot = {"polygons": [[[0.5, 0.5], [0.54, 0.5], [0.54, 0.54], [0.5, 0.54]]]}
        client.patch("/categories/disc", json={"region_of_interest": spot}).raise_for_status()
        flat = encode_png(np.full((20, 160, 3), 90, np.uint8))
        alone = client.post("/detect", data={"category": "disc"}, files=files(flat))
        assert (alone.status_code, alone.json()["reason"]) == (422, "nothing-inspected"), alone.text
        assert "160 × 20" in alone.json()["detail"]
        both = client.post("/detect", data={"category": "disc"}, files=files(flat, square(50))).json()["results"]
        assert both[0]["error"]["reason"] == "nothing-inspected"
        assert both[1]["category"] == "disc"
        added = client.post("/references", data={"category": "disc"}, files=files(flat, square(51)))
        assert added.status_code == 200, added.text
        wait_until_calibrated(client, "disc")


def test_a_chosen_crop_is_visible_in_roi_image_answer_and_overlay(tmp_path: Path) -> None:
    with service(tmp_path) as client:
        onboard(client, "plate", *(plate(seed) for seed in range(4)))
        window = {"resized": [640, 368], "window": [64, 48, 512, 256]}
        assert client.patch("/categories/plate", json={"geometry": window}).status_code == 200
        found = wait_until_changed(client, "plate")
        inspected = found["geometry"]["inspected"]  # type: ignore[index]
        assert inspected["fraction"] == pytest.approx(512 * 256 / (640 * 368))
        assert inspected["polygon"][0] == pytest.approx([0.1, 48 / 368])
        mask = cv2.imdecode(
            np.frombuffer(client.get("/categories/plate/region-of-interest.png").content, np.uint8),
            cv2.IMREAD_GRAYSCALE,
        )
        assert (mask > 0).mean() == pytest.approx(inspected["fraction"], abs=0.01)
        assert (mask[:, :20] == 0).all()
        photo = plate(400)
        answer = detect(client, photo, category="plate", overlay="true")
        assert answer["inspected"]["fraction"] == pytest.approx(inspected["fraction"], abs=0.01)  # type: ignore[index]
        assert "border_not_inspected" in [notice["kind"] for notice in answer["notices"]]  # type: ignore[attr-defined]
        overlay = cv2.imdecode(np.frombuffer(base64.b64decode(str(answer["overlay"])), np.uint8), cv2.IMREAD_GRAYSCALE)
        original = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert overlay[:, :50].mean() == pytest.approx(0.6 * original[:, :50].mean(), rel=0.02)  # dimmed
        # What is not looked at cannot be seen.
        blotted = detect(client, plate(400, (5, 180)), category="plate")
        assert blotted["score"] == pytest.approx(answer["score"], rel=0.05)


def test_advice_says_what_a_defect_takes_and_refuses_what_cannot_be(both: TestClient) -> None:
    advice = both.post("/geometry/advice", json={"width": 3200, "height": 2400, "smallest_defect": 12})
    assert advice.status_code == 200, advice.text
    found = advice.json()
    assert found["smallest_defect"] <= 12
    assert found["cells"] == found["geometry"]["grid"][0] * found["geometry"]["grid"][1] > 10_000
    coarse = both.post("/geometry/advice", json={"width": 3200, "height": 2400, "cells": 784}).json()
    assert coarse["smallest_defect"] > 24
    assert found["encode_ms"] > 5 * coarse["encode_ms"] > 0
    assert found["reference_bytes"] > 5 * coarse["reference_bytes"]
    assert coarse["memory_bytes"] == coarse["references"] * coarse["reference_bytes"]
    in_mm = {"width": 3200, "height": 2400, "smallest_defect": 0.6, "millimetres_per_pixel": 0.05}
    assert both.post("/geometry/advice", json=in_mm).json()["geometry"] == found["geometry"]
    own = both.post("/geometry/advice", json={"category": "plate", "cells": 3136}).json()
    assert own["references"] == both.get("/categories/plate").json()["references"]
    for body, word in (
        ({"width": 3200, "height": 2400, "smallest_defect": 0.1}, "can be found"),
        ({"width": 3200, "height": 2400, "cells": 784, "smallest_defect": 3}, "one of cells"),
        ({"width": 3200, "height": 2400, "references": 10_000_000, "cells": 65_536}, "cells fit"),
        ({"width": 3200, "cells": 784}, "belong together"),
        ({"cells": 784}, "a category, or"),
    ):
        refused = both.post("/geometry/advice", json=body)
        assert (refused.status_code, word in refused.json()["detail"]) == (422, True), refused.text
    assert both.post("/geometry/advice", json={"category": "nut", "cells": 9}).status_code == 404
    too_small = both.patch("/categories/plate", json={"geometry": {"size": [8, 8]}})
    assert (too_small.status_code, "one cell" in too_small.json()["detail"]) == (422, True)


def test_a_smallest_defect_said_with_the_first_references_decides_how_fine(tmp_path: Path) -> None:
    with service(tmp_path) as client:
        fields = {"category": "plate", "smallest_defect": "12"}
        assert client.post("/references", data=fields, files=files(plate(0), plate(1))).status_code == 200
        rows, columns = client.get("/categories/plate").json()["geometry"]["grid"]
        assert rows * columns < 784
        contradicting = client.post(
            "/references", data={"category": "x", "cells": "9", "smallest_defect": "12"}, files=files(plate(0))
        )
        assert contradicting.status_code == 422
        impossible = {"category": "y", "smallest_defect": "0.01"}
        assert "can be found" in client.post("/references", data=impossible, files=files(plate(0))).json()["detail"]
        assert [category["name"] for category in client.get("/categories").json()["categories"]] == ["plate"]


def test_the_old_geometry_serves_until_the_new_one_is_calibrated_and_then_at_once(both: TestClient) -> None:
    """Detections go on all the while: each is of one geometry as a whole, and none is without a verdict."""
    photo = plate(500)
    before = both.get("/categories/plate").json()["geometry"]
    assert both.patch("/categories/plate", json={"geometry": {"cells": 300}}).status_code == 200
    seen: list[tuple[str, float]] = []
    while True:
        found = detect(both, photo, category="plate")
        seen.append((str(found["verdict"]), float(found["score"])))  # type: ignore[arg-type]
        now = both.get("/categories/plate").json()
        if now["geometry_change"] is None and len(seen) > 3:
            break
        assert len(seen) < 2000
    wait_until_calibrated(both, "plate")
    after = both.get("/categories/plate").json()["geometry"]
    assert after["grid"] != before["grid"]
    seen.append((str(detect(both, photo, category="plate")["verdict"]), seen[-1][1]))
    assert {verdict for verdict, _ in seen} == {"normal"}
    scores = [score for _, score in seen]
    assert len(set(scores)) <= 2, scores
    back = {"resized": before["resized"], "window": before["window"]}
    both.patch("/categories/plate", json={"geometry": back})
    wait_until_changed(both, "plate")
    wait_until_calibrated(both, "plate")
    assert detect(both, photo, category="plate")["score"] == pytest.approx(scores[0], abs=1e-6)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_change_goes_on_after_a_restart(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    more = dict(UNSIZED)
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        more["DATABASE_URL"] = server.new_database(migrated=True)
    data = tmp_path / "data"
    with ServerProcess(data, **more).wait_until_live() as first:
        first.teach("plate", *(plate(seed) for seed in range(10)))
        first.teach("disc", *(square(seed) for seed in range(2)))
        first.wait_until_calibrated("plate")
        assert first.client.patch("/categories/plate", json={"geometry": {"cells": 1600}}).status_code == 200
        end = time.monotonic() + 60
        while True:
            change = first.client.get("/categories/plate").json()["geometry_change"]
            if change is None or change["encoded"] > 0 or time.monotonic() > end:
                break
            time.sleep(0.01)
        assert change is not None
        first.kill()
    with ServerProcess(data, **more).wait_until_live() as second:
        rows, columns = wait_until_changed(second.client, "plate")["geometry"]["grid"]  # type: ignore[index]
        assert 1300 < rows * columns <= 1600
        second.wait_until_calibrated("plate")
        assert second.client.get("/categories/disc").json()["geometry"]["grid"] == [28, 28]
        verdict = detect(second.client, plate(600, PLACES[0]), category="plate")
        assert verdict["regions"] or verdict["verdict"] in ("anomalous", "uncalibrated")
        assert len(second.references()) == 12
        assert second.stop() == 0
    checked = touchstone("verify", data=data, DATABASE_URL=more.get("DATABASE_URL", ""))
    assert checked.exit_code == 0, checked.stdout + checked.stderr


def test_a_category_that_is_removed_while_its_geometry_changes_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = GeometryChanges._encode
    running = AppState.start(Settings(data=tmp_path, device="cpu", encoder="filterbank"))

    def removing(self: GeometryChanges, references: Sequence[Reference], geometry: InputGeometry) -> Reencoded:
        encoded = encode(self, references, geometry)
        running.reference_store.remove_category("disc")
        return encoded

    with TestClient(create_app(running), base_url="http://localhost") as client:
        onboard(client, "disc", *(square(seed) for seed in range(3)))
        monkeypatch.setattr(GeometryChanges, "_encode", removing)
        client.patch("/categories/disc", json={"geometry": {"cells": 100}}).raise_for_status()
        eventually(lambda: client.get("/categories").json()["categories"] == [], "it was not removed")
        running.background.geometry_changes.soon().result(PATIENCE)
        assert value(scrape(client), "background_failures_total", task="geometry") == 0


def test_a_failing_geometry_change_does_not_block_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = GeometryChanges._encode

    def failing(self: GeometryChanges, references: Sequence[Reference], geometry: InputGeometry) -> Reencoded:
        if references[0].category == "disc":
            raise RuntimeError("the card gave out")
        return encode(self, references, geometry)

    monkeypatch.setattr(GeometryChanges, "_encode", failing)
    with service(tmp_path / "data") as client:
        for name, image in (("disc", square), ("plate", plate)):
            onboard(client, name, *(image(seed) for seed in range(4)))
            client.patch(f"/categories/{name}", json={"geometry": {"cells": 100}}).raise_for_status()
        rows, columns = wait_until_changed(client, "plate")["geometry"]["grid"]  # type: ignore[index]
        assert rows * columns <= 100
        assert client.get("/categories/disc").json()["geometry_change"] is not None
        monkeypatch.setattr(GeometryChanges, "_encode", encode)
        wait_until_changed(client, "disc")


def test_rebuild_of_a_category_is_taken_over_by_a_running_service(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, **UNSIZED).wait_until_live() as server:
        server.teach("plate", *(plate(seed) for seed in range(6)))
        server.wait_until_calibrated("plate")
        for arguments, code, word in (
            (("--category", "plate", "--cells", "300"), 0, "running services load it"),
            (("--category", "plate", "--cells", "300"), 0, "has this geometry already"),
            (("--category", "nut", "--cells", "300"), 2, "no category 'nut'"),
            (("--cells", "300"), 2, "--category"),
            (("--category", "plate", "--smallest-defect", "0.01"), 2, "can be found"),
        ):
            done = touchstone("rebuild", *arguments, data=data, sized=False, ENCODER="filterbank")
            assert (done.exit_code, word in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
        end = time.monotonic() + 60
        while (grid := server.client.get("/categories/plate").json()["geometry"]["grid"])[0] * grid[1] > 300:
            assert time.monotonic() < end
            time.sleep(0.05)
        server.wait_until_calibrated("plate")
        assert detect(server.client, plate(700), category="plate")["verdict"] != "anomalous"
    listed = touchstone("geometry", "list", data=data)
    assert "plate" in listed.stdout
    assert f"{16 * grid[1]} × {16 * grid[0]} pixels" in listed.stdout


def test_a_backup_restores_geometries_and_changes_under_way(tmp_path: Path) -> None:
    data, saved, again = tmp_path / "data", tmp_path / "saved", tmp_path / "again"
    with service(data) as client:
        onboard(client, "plate", *(plate(seed) for seed in range(3)))
        wait_until_calibrated(client, "plate")
        before = client.get("/categories/plate").json()["geometry"]
        score = detect(client, plate(800), category="plate")["score"]
    assert touchstone("backup", saved, data=data).exit_code == 0
    assert touchstone("restore", saved, data=again).exit_code == 0
    assert touchstone("verify", data=again).exit_code == 0
    with service(again) as client:
        assert client.get("/categories/plate").json()["geometry"] == before
        wait_until_calibrated(client, "plate")
        assert detect(client, plate(800), category="plate")["score"] == pytest.approx(score, abs=1e-6)
