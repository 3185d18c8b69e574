"""Parts encoded differently from the references: good ones pass at about the guaranteed rate, defects do not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from clients.demo.factory import render_defective, render_good
from clients.demo.factory import test_seed as part_seed
from indexer.imaging.encode import encode_png
from service.app import create_app
from service.settings import Settings
from service.state import AppState
from tests.helpers.http_service import files, onboard, wait_until_calibrated
from tests.helpers.metrics import scrape, value

PRODUCT, REFERENCES, GOOD, DEFECTIVE = "board", 24, 16, 12
SIDE = 336  # pixels of what is inspected: with fewer the defects of a board are too small


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def start(data: Path) -> TestClient:
    running = AppState.start(Settings(data=data, resize=SIDE, crop=SIDE, device="cpu", deadline_ms=240_000))
    return TestClient(create_app(running), base_url="http://localhost")


@cache
def good() -> list[np.ndarray]:
    return [render_good(PRODUCT, part_seed(0, index)).image for index in range(GOOD)]


@cache
def defective() -> list[np.ndarray]:
    return [render_defective(PRODUCT, part_seed(0, GOOD + index)).image for index in range(DEFECTIVE)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one product twice: referenced as PNG, and as JPEG of quality 90."""
    data = tmp_path_factory.mktemp("codecs")
    images = [render_good(PRODUCT, seed).image for seed in range(REFERENCES)]
    with start(data) as client:
        onboard(client, "png", *map(encode_png, images))
        onboard(client, "jpeg", *map(jpeg, images))
        for category in ("png", "jpeg"):
            client.patch(f"/categories/{category}", json={"false_reject_rate": 0.05})
            wait_until_calibrated(client, category)
    return data


@pytest.fixture(scope="module")
def client(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service on a copy: the folder itself is a restart's."""
    copied = tmp_path_factory.mktemp("copied") / "data"
    shutil.copytree(data, copied)
    with start(copied) as running:
        for category in ("png", "jpeg"):
            wait_until_calibrated(running, category)
        yield running


def detect(client: TestClient, category: str, parts: list[bytes]) -> list[dict[str, Any]]:
    answer = client.post("/detect", data={"category": category}, files=files(*parts))
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]  # type: ignore[no-any-return]


def kinds(results: list[dict[str, Any]]) -> set[str]:
    return {notice["kind"] for result in results for notice in result["notices"]}


def test_parts_encoded_like_the_references_get_no_notice(client: TestClient) -> None:
    results = detect(client, "png", list(map(encode_png, good()))) + detect(client, "jpeg", list(map(jpeg, good())))
    assert kinds(results) == set()
    assert sum(result["verdict"] == "normal" for result in results) >= 2 * GOOD - 3


@pytest.mark.parametrize(("quality", "least_detected"), [(90, 8), (75, 6)])
def test_jpeg_parts_of_png_references_are_judged_by_references_stored_like_them(
    client: TestClient, quality: int, least_detected: int
) -> None:
    passed = detect(client, "png", [jpeg(image, quality) for image in good()])
    defects = detect(client, "png", [jpeg(image, quality) for image in defective()])
    assert sum(result["verdict"] == "normal" for result in passed) >= GOOD - 2  # at 5 % one of 20, on average
    assert sum(result["verdict"] == "anomalous" for result in defects) >= least_detected
    assert kinds(passed + defects) == {"encoding_mismatch"}
    said = passed[0]["notices"][0]["detail"]
    assert said.startswith(f"It is JPEG, quality {quality}, 4:2:0; the references are PNG. It was judged by")
    assert passed[0]["encoding"]["quality"] == quality


def test_png_parts_of_jpeg_references_are_read_as_those(client: TestClient) -> None:
    parts = good() + defective()
    alike = detect(client, "jpeg", list(map(jpeg, parts)))
    reencoded = detect(client, "jpeg", list(map(encode_png, parts)))
    assert (kinds(alike), kinds(reencoded)) == (set(), {"reencoded_as_references"})
    assert reencoded[0]["encoding"]["read_as"] == "JPEG, quality 90, 4:2:0"
    assert sum(result["verdict"] == "normal" for result in reencoded[:GOOD]) >= GOOD - 2
    for one, other in zip(alike, reencoded, strict=True):  # two encoders of JPEG differ a little
        assert other["score"] == pytest.approx(one["score"], rel=0.1)


def test_the_calibration_for_such_images_outlives_a_restart_and_follows_the_references(data: Path) -> None:
    part = jpeg(good()[0])
    with start(data) as client:
        wait_until_calibrated(client, "png")
        before = detect(client, "png", [part])[0]
        assert before["threshold"] is not None
    with start(data) as client:
        wait_until_calibrated(client, "png")
        again = detect(client, "png", [part])[0]
        assert value(scrape(client), "batch_images_count", queue="calibrate") == 0, "it was made again"
        assert (again["score"], again["threshold"]) == pytest.approx((before["score"], before["threshold"]))
        [added] = onboard(client, "png", encode_png(render_good(PRODUCT, 900).image))
        wait_until_calibrated(client, "png")
        assert detect(client, "png", [part])[0]["verdict"] == again["verdict"]  # by the one that there is
        client.delete(f"/references/{added}")


def test_references_encoded_differently_from_most_get_a_notice(client: TestClient) -> None:
    extra = render_good(PRODUCT, 901).image
    for category, data, kind in (
        ("png", jpeg(extra), "encoding_mismatch"),
        ("jpeg", encode_png(extra), "reencoded_as_references"),
    ):
        answer = client.post("/references", data={"category": category}, files=files(data)).json()
        assert kind in {notice["kind"] for notice in answer["results"][0]["notices"]}
        client.delete(f"/references/{answer['results'][0]['reference_id']}")


def test_a_part_of_another_size_gets_a_notice(client: TestClient) -> None:
    small = cv2.resize(good()[0], (256, 256), interpolation=cv2.INTER_AREA)
    [result] = detect(client, "png", [encode_png(small)])
    assert kinds([result]) == {"size_mismatch"}
    assert "0.5 times as many a side" in result["notices"][0]["detail"]
