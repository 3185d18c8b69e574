"""The whole image is inspected by default, and a memory keeps its sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.domain.errors import FeatureSpaceMismatch
from service.app import create_app
from service.settings import Settings
from service.state import AppState
from tests.helpers.commands import indexed, touchstone
from tests.helpers.http_service import files, onboard, settings, teach
from tests.helpers.part_images import PLACES, part, plate


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service at the default sizes that knows 24 plates."""
    running = AppState.start(Settings(data=tmp_path_factory.mktemp("plates"), device="cpu"))
    with TestClient(create_app(running), base_url="http://localhost") as client:
        teach(client, "plate", *(plate(seed) for seed in range(24)), rate=0.05)
        yield client


def test_blots_at_all_corners_and_edges_are_caught_where_they_are(plates: TestClient) -> None:
    blotted = [plate(100 + index, position) for index, position in enumerate(PLACES)]
    results = plates.post("/detect", data={"category": "plate"}, files=files(*blotted)).json()["results"]
    assert [result["verdict"] for result in results] == ["anomalous"] * len(PLACES)
    for (x, y), result in zip(PLACES, results, strict=True):
        left, top, width, height = max(result["regions"], key=lambda region: region["peak"])["box"]
        assert left - 20 <= x <= left + width + 20, (x, y)
        assert top - 20 <= y <= top + height + 20, (x, y)


def test_plates_without_a_blot_pass(plates: TestClient) -> None:
    good = plates.post("/detect", data={"category": "plate"}, files=files(*(plate(200 + n) for n in range(20)))).json()
    assert sum(result["verdict"] == "normal" for result in good["results"]) >= 17


def test_nothing_is_cut_off_unless_it_is_chosen(plates: TestClient) -> None:
    assert plates.get("/categories/plate").json()["geometry"]["inspected"]["fraction"] == 1.0


def test_a_memory_made_with_other_sizes_keeps_them_and_says_what_it_does_not_see(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as client:
        onboard(client, "disc", part(1))
        before = client.get("/version").json()["encoder"]
    caplog.clear()
    running = AppState.start(Settings(data=tmp_path, device="cpu"))
    assert "disc: a border of 23 % of every image is not inspected" in caplog.text
    with TestClient(create_app(running), base_url="http://localhost") as client:
        assert client.get("/version").json()["encoder"]["fingerprint"] == before["fingerprint"]
        geometry = client.get("/categories/disc").json()["geometry"]
        assert (geometry["resized"], geometry["window"]) == ([128, 128], [8, 8, 112, 112])
        assert geometry["inspected"]["fraction"] == pytest.approx((112 / 128) ** 2)
        response = client.post("/detect", files=files(part(2)))
        assert response.status_code == 200
        assert "border_not_inspected" in [notice["kind"] for notice in response.json()["results"][0]["notices"]]
        onboard(client, "plate", part(3, kind=1))
        assert client.get("/categories/plate").json()["geometry"]["inspected"]["fraction"] == 1.0
    with pytest.raises(FeatureSpaceMismatch, match="looks at 128 × 128 → 112 × 112 pixels, not 448 × 448"):
        AppState.start(Settings(data=tmp_path, device="cpu", resize=448))


def test_commands_follow_the_memory_and_a_rebuild_leaves_nothing_unseen(tmp_path: Path) -> None:
    parts, data = tmp_path / "parts", tmp_path / "data"
    for index in range(2):
        path = parts / "disc" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part(index))
    indexed(data, parts)
    (parts / "disc" / "2.png").write_bytes(part(2))
    unsized = touchstone("index", parts, data=data, sized=False)
    assert unsized.exit_code == 0, unsized.stderr
    rebuilt = touchstone("rebuild", data=data, sized=False)
    assert rebuilt.exit_code == 0, rebuilt.stderr
    with TestClient(
        create_app(AppState.start(Settings(data=data, device="cpu"))), base_url="http://localhost"
    ) as client:
        disc = client.get("/categories/disc").json()
    assert (disc["references"], disc["geometry"]["inspected"]["fraction"]) == (3, 1.0)
