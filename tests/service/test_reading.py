"""16-bit images: the same light gives the same result at any bit depth, with a notice."""

from __future__ import annotations

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
from tests.helpers.http_service import files, settings, wait_until_calibrated

SIZE = (144, 160)


def light(seed: int, stain: float = 0.0) -> np.ndarray:
    """What a part reflects, float64 (144, 160) in [0, 1]: brushed metal with a bore, and a stain of some darkness."""
    rng = np.random.default_rng(seed)
    seen = 0.55 + cv2.GaussianBlur(rng.normal(0, 0.12, SIZE), (0, 0), sigmaX=6, sigmaY=1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    seen[(x - 110) ** 2 + (y - 40) ** 2 < 20**2] = 0.1
    seen -= stain * np.exp(-((x - 60) ** 2 + (y - 90) ** 2) / (2 * 9.0**2))
    seen[:4, :4] = 1.0  # a glint: every exposure reaches white somewhere
    return seen.clip(0, 1)


def stored(seen: np.ndarray, bits: int, shift: int = 0) -> bytes:
    """A PNG: in 8 bits, or in 16 of which the camera uses `bits`, shifted up or not."""
    values = np.round(seen * ((1 << bits) - 1))
    return encode_png(values.astype(np.uint8) if bits == 8 else values.astype(np.uint16) << shift)


def service(data: Path) -> TestClient:
    """A client of a service that inspects whole images."""
    return TestClient(
        create_app(AppState.start(settings(data).model_copy(update={"resize": 112}))), base_url="http://localhost"
    )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with service(tmp_path) as running:
        yield running


def teach(client: TestClient, category: str, *parts: bytes, **fields: object) -> dict[str, Any]:
    answer = client.post("/references", data={"category": category, **fields}, files=files(*parts))
    assert answer.status_code == 200, answer.text
    client.patch(f"/categories/{category}", json={"false_reject_rate": 0.05})
    wait_until_calibrated(client, category)
    return answer.json()  # type: ignore[no-any-return]


def detect(client: TestClient, *parts: bytes, **fields: object) -> list[dict[str, Any]]:
    answer = client.post("/detect", data=fields, files=files(*parts))
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]  # type: ignore[no-any-return]


def kinds(result: dict[str, Any]) -> list[str]:
    return [notice["kind"] for notice in result["notices"]]


CONTAINERS = [(10, 0), (12, 0), (14, 0), (16, 0), (10, 6), (12, 4), (14, 2)]


GOOD = range(20)  # which a false-reject rate of 5 % takes


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service that knows good parts in 8 bits, calibrated at a false-reject rate of 5 %."""
    with service(tmp_path_factory.mktemp("eight")) as running:
        teach(running, "eight", *(stored(light(seed), 8) for seed in GOOD))
        yield running


@pytest.mark.parametrize(("bits", "shift"), CONTAINERS, ids=[f"{bits} bits, shifted by {s}" for bits, s in CONTAINERS])
def test_a_stain_scores_alike_in_eight_bits_and_in_every_container(eight: TestClient, bits: int, shift: int) -> None:
    deep, parts = f"{bits} bits, shifted by {shift}", [light(100), light(101, stain=0.25)]
    taught = teach(eight, deep, *(stored(light(seed), bits, shift) for seed in GOOD))
    assert {kind for result in taught["results"] for kind in kinds(result)} == {"bit_depth_inferred"}
    expected = bits if shift == 0 else 16
    assert eight.get(f"/categories/{deep}").json()["settings"]["bit_depth"] == expected
    before = detect(eight, *(stored(part, 8) for part in parts), category="eight")
    after = detect(eight, *(stored(part, bits, shift) for part in parts), category=deep)
    assert [each["verdict"] for each in before] == [each["verdict"] for each in after] == ["normal", "anomalous"]
    for one, other in zip(before, after, strict=True):
        assert other["score"] == pytest.approx(one["score"], rel=0.1)
        assert other["encoding"]["bit_depth"] == expected
        assert kinds(other) == []


def test_the_depth_is_decided_once_and_no_later_image_changes_it(client: TestClient) -> None:
    teach(client, "plate", *(stored(light(seed) * 0.9, 12) for seed in range(8)))
    dark = detect(client, stored(light(50) * 0.1, 12), category="plate")[0]
    assert dark["encoding"]["bit_depth"] == 12
    assert kinds(dark) == ["narrow_range"]
    again = teach(client, "plate", stored(light(60) * 0.1, 12))
    assert kinds(again["results"][0]) == ["narrow_range"]
    beyond = client.post("/detect", data={"category": "plate"}, files=files(stored(light(51), 14)))
    assert (beyond.status_code, beyond.json()["reason"]) == (422, "beyond-depth")
    assert client.get("/categories/plate").json()["settings"]["bit_depth"] == 12


def test_the_request_says_the_depth_and_the_category_keeps_it(client: TestClient) -> None:
    dim = [stored(light(seed) * 0.2, 12) for seed in range(8)]  # whose values would tell of 10 bits
    assert kinds(teach(client, "told", *dim, bit_depth=12)["results"][0]) == ["narrow_range"]
    assert client.get("/categories/told").json()["settings"]["bit_depth"] == 12
    assert kinds(teach(client, "guessed", *dim)["results"][0]) == ["bit_depth_inferred"]
    assert client.get("/categories/guessed").json()["settings"]["bit_depth"] == 10
    part = stored(light(70) * 0.2, 14)
    assert detect(client, part, category="told", bit_depth=14)[0]["encoding"]["bit_depth"] == 14
    for wrong in ("11", "x", "8", "12.0", "-12"):
        refused = client.post("/detect", data={"category": "told", "bit_depth": wrong}, files=files(part))
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid-request"), wrong


def test_without_a_category_the_depth_is_that_of_all_or_it_is_not_guessed(client: TestClient) -> None:
    teach(client, "eight", *(stored(light(seed), 8) for seed in range(3)))
    teach(client, "twelve", *(stored(1 - light(seed), 12) for seed in range(3)))
    assert detect(client, stored(light(20), 12))[0]["encoding"]["bit_depth"] == 12
    teach(client, "ten", *(stored(light(seed).T.copy(), 10) for seed in range(3)))
    unknown = client.post("/detect", files=files(stored(light(20), 12)))
    assert (unknown.status_code, unknown.json()["reason"]) == (422, "depth-unknown")
    assert detect(client, stored(light(20), 12), bit_depth=12)[0]["encoding"]["bit_depth"] == 12
    assert detect(client, stored(light(20), 8))[0]["encoding"] == {
        "format": "PNG",
        "lossy": False,
        "bits": 8,
        "quality": None,
        "subsampling": None,
        "bit_depth": None,
        "read_as": None,
    }


def test_a_category_of_eight_bits_says_that_sixteen_may_hold_fewer(client: TestClient) -> None:
    teach(client, "eight", *(stored(light(seed), 8) for seed in range(8)))
    [result] = detect(client, stored(light(30), 12), category="eight")
    assert kinds(result) == ["narrow_range"]
    assert "say bit_depth" in result["notices"][0]["detail"]
    client.patch("/categories/eight", json={"bit_depth": 12})
    [result] = detect(client, stored(light(30), 12), category="eight")
    assert kinds(result) == []
    assert result["score"] == pytest.approx(detect(client, stored(light(30), 8), category="eight")[0]["score"], rel=0.1)


def test_the_depth_of_references_that_there_are_cannot_be_changed_under_them(client: TestClient) -> None:
    taught = teach(client, "plate", *(stored(light(seed), 12) for seed in range(3)))
    for other in (16, None):
        refused = client.patch("/categories/plate", json={"bit_depth": other})
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
    assert client.patch("/categories/plate", json={"bit_depth": 12}).status_code == 200
    for result in taught["results"]:
        client.delete(f"/references/{result['reference_id']}")
    assert client.patch("/categories/plate", json={"bit_depth": 16}).status_code == 200


def test_what_was_read_at_a_depth_is_read_so_again(client: TestClient, tmp_path: Path) -> None:
    taught = teach(client, "plate", *(stored(light(seed), 12) for seed in range(6)))
    part = stored(light(80, stain=0.25), 12)
    [before] = detect(client, part, category="plate")
    feedback = {"label": "good", "confirm": True}
    promoted = client.post(f"/inspections/{before['id']}/feedback", json=feedback).json()
    made = client.get(f"/references/{promoted['promoted_reference_id']}").json()
    assert made["encoding"]["bit_depth"] == 12
    assert detect(client, part, category="plate")[0]["score"] == pytest.approx(0, abs=1e-3)
    first = taught["results"][0]["reference_id"]
    client.delete(f"/references/{first}")
    assert client.post(f"/references/{first}/restore").json()["encoding"]["bit_depth"] == 12
    tried = client.post("/categories/plate/preview", json={"k": 3}).json()
    found = {inspection["inspection_id"]: inspection["before"]["score"] for inspection in tried["inspections"]}
    assert found[before["id"]] == pytest.approx(before["score"], rel=0.05)  # its own reference left out


def test_a_rebuild_reads_every_reference_as_it_was_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with service(data) as client:
        teach(client, "plate", *(stored(light(seed), 12) for seed in range(6)))
        part = stored(light(80, stain=0.25), 12)
        [before] = detect(client, part, category="plate")
    assert touchstone("rebuild", "--codec", "fp32", data=data, RESIZE="112").exit_code == 0
    with service(data) as client:
        [after] = detect(client, part, category="plate")
    assert after["score"] == pytest.approx(before["score"], rel=0.01)


def test_the_bulk_job_infers_the_bit_depth_as_the_service_does(tmp_path: Path) -> None:
    parts, data = tmp_path / "parts", tmp_path / "data"
    for bits, name in ((12, "twelve"), (16, "sixteen")):
        (parts / name).mkdir(parents=True)
        for seed in range(4):
            (parts / name / f"{seed}.png").write_bytes(stored(light(seed), bits))
    assert touchstone("index", parts, data=data, RESIZE="112").exit_code == 0
    said = touchstone("index", parts, "--bit-depth", "11", data=data, RESIZE="112")
    assert (said.exit_code, len(said.stderr.splitlines())) == (2, 1)
    with service(data) as client:
        found = {
            category["name"]: category["settings"]["bit_depth"]
            for category in client.get("/categories").json()["categories"]
        }
        assert found == {"twelve": 12, "sixteen": 16}
        [result] = detect(client, stored(light(0), 12), category="twelve")
        assert result["score"] == pytest.approx(0, abs=1e-3)


def test_sixteen_bit_colour_is_read_at_its_depth_too(client: TestClient) -> None:
    def colour(seed: int, bits: int) -> bytes:
        seen = np.stack([light(seed), light(seed) * 0.8, light(seed) * 0.6], axis=2)
        values = np.round(seen * ((1 << bits) - 1))
        return encode_png(values.astype(np.uint8 if bits == 8 else np.uint16))

    teach(client, "colour", *(colour(seed, 12) for seed in range(6)))
    assert detect(client, colour(0, 8), category="colour")[0]["score"] == pytest.approx(0, abs=0.01)
    assert detect(client, colour(0, 12), category="colour")[0]["score"] == pytest.approx(0, abs=1e-3)
