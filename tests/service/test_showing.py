"""Thumbnails, heat maps, trends, the stream of inspections, and restored references."""

from __future__ import annotations

import io
import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.inspection import Inspection, InspectionFilter
from indexer.imaging.encode import encode_png
from tests.helpers.http_service import check_problem, files, onboard
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess


def opened(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def test_images_can_be_had_smaller_and_are_never_made_larger(taught: TestClient) -> None:
    reference = taught.get("/references").json()["references"][0]
    small = opened(taught.get(f"/references/{reference['id']}/image", params={"side": 40}))
    assert (small.format, small.size) == ("JPEG", (40, 36))
    assert opened(taught.get(f"/references/{reference['id']}/image", params={"side": 4000})).size == (160, 144)
    assert taught.get(f"/references/{reference['id']}/image", params={"side": 4}).status_code == 422


def test_a_long_narrow_image_is_shown_at_every_size(taught: TestClient) -> None:
    strip = encode_png(np.full((3000, 20, 3), 90, np.uint8))
    inspected = taught.post("/detect", data={"category": "disc"}, files=files(strip)).json()["results"][0]
    for side, size in (
        (16, (1, 16)),
        (96, (1, 96)),
        (192, (1, 192)),
        (600, (4, 600)),
    ):  # the first ones of its thumbnail
        image = opened(taught.get(f"/inspections/{inspected['id']}/image", params={"side": side}))
        assert image.size == size


def test_heat_lies_over_the_whole_image_and_is_hot_where_the_region_is(taught: TestClient) -> None:
    sent = files(part(900, scratched=True))
    inspected = taught.post("/detect", data={"category": "disc"}, files=sent).json()["results"][0]
    assert inspected["verdict"] == "anomalous"
    heat = opened(taught.get(f"/inspections/{inspected['id']}/heat.png"))
    assert (heat.mode, heat.size) == ("RGBA", (160, 144))
    x, y = inspected["regions"][0]["centroid"]
    alpha = np.asarray(heat)[..., 3]
    assert alpha[int(y), int(x)] > 100
    assert alpha[:5].max() == 0, "outside the crop nothing was looked at"


def test_a_removed_reference_is_listed_and_can_be_brought_back(client: TestClient) -> None:
    first, second = onboard(client, "disc", part(1), part(2))
    client.delete(f"/references/{first}")
    removed = client.get("/references", params={"removed": True, "category": "disc"}).json()["references"]
    assert [reference["id"] for reference in removed] == [first]
    restored = client.post(f"/references/{first}/restore").json()
    assert restored["sha256"] == removed[0]["sha256"]
    assert restored["removed_at"] is None
    assert client.get("/references", params={"removed": True}).json()["references"] == []
    live = client.get("/references").json()["references"]
    assert {reference["id"] for reference in live} == {second, restored["id"]}
    assert client.post(f"/references/{first}/restore").json()["id"] == restored["id"]
    assert client.post("/references/999/restore").json()["type"] == "/problems/not-found"


def test_the_image_of_a_removed_reference_outlives_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data).wait_until_live() as server:
        response = server.client.post("/references", data={"category": "disc"}, files=files(part(1), part(2)))
        reference = response.json()["results"][0]["reference_id"]
        server.client.delete(f"/references/{reference}")
        assert server.stop() == 0
    with ServerProcess(data).wait_until_live() as server:
        assert server.client.post(f"/references/{reference}/restore").status_code == 200


def filled(catalogue: Catalogue, count: int) -> datetime:
    """Inspections a second apart; every tenth anomalous. Returns when the first was."""
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    for start in range(0, count, 1000):
        catalogue.inspections.record(
            [
                Inspection(
                    id=f"{index:032d}",
                    at=begun + timedelta(seconds=index),
                    filename=f"part-{index}.png",
                    verdict="normal" if index % 10 else "anomalous",
                    score=0.1 if index % 10 else 0.4,
                    version=1,
                    width=160,
                    height=144,
                    category="disc",
                    part_id=f"SN{index:06d}",
                    station=f"S{index % 3}",
                    threshold=0.2,
                    timings={"queue_ms": 0, "encode_ms": 1, "search_ms": 1, "total_ms": 2},
                )
                for index in range(start, min(count, start + 1000))
            ]
        )
    return begun


def test_a_trend_adds_up_to_the_history(database: str) -> None:
    catalogue = Catalogue.open(database)
    begun = filled(catalogue, 1000)
    trend = catalogue.inspections.trend(InspectionFilter(category="disc"), 7)
    assert trend.total == sum(point.count for point in trend.points) == 1000
    assert len(trend.points) <= 7
    assert trend.points[0].at == begun
    assert sum(point.verdicts["anomalous"] for point in trend.points) == 100
    assert abs(trend.points[0].mean - 0.13) < 0.01
    assert (trend.points[0].max, trend.points[0].threshold) == (0.4, 0.2)
    assert trend.points[0].max_ratio == pytest.approx(2)
    assert trend.points[0].mean_ratio == pytest.approx(trend.points[0].mean / 0.2)
    assert trend.categories == 1
    assert [point.at - begun for point in trend.points] == [index * trend.bucket for index in range(7)]
    assert catalogue.inspections.trend(InspectionFilter(category="none")).total == 0
    catalogue.close()


def test_trends_handle_fractions_of_seconds_and_gaps(database: str) -> None:
    catalogue = Catalogue.open(database)
    begun = datetime(2026, 3, 1, 12, 0, 7, 654_321, tzinfo=UTC)
    seconds = (0, 0.3, 0.9, 5.345, 5.345_679, 58.9)
    catalogue.inspections.record(
        [
            Inspection(
                id=f"{index:032d}",
                at=begun + timedelta(seconds=after),
                filename="part.png",
                verdict="unfamiliar",
                score=index / 10,
                version=1,
                width=160,
                height=144,
                category="disc",
            )
            for index, after in enumerate(seconds)
        ]
    )
    trend = catalogue.inspections.trend(points=60)
    whole = begun.replace(microsecond=0)
    points = [((point.at - whole).total_seconds(), point.count, round(point.mean, 6)) for point in trend.points]
    assert trend.bucket == timedelta(seconds=1)
    assert points == [(0, 2, 0.05), (1, 1, 0.2), (5, 1, 0.3), (6, 1, 0.4), (59, 1, 0.5)]
    assert {point.verdicts["unfamiliar"] for point in trend.points} == {1, 2}
    assert (trend.first, trend.last, trend.points[0].threshold) == (whole, begun + timedelta(seconds=58.9), None)
    assert (trend.points[0].mean_ratio, trend.points[0].max_ratio) == (None, None)
    one = catalogue.inspections.trend(points=1)
    assert (one.points[0].count, one.bucket) == (6, timedelta(seconds=60))
    catalogue.close()


def test_history_is_searched_by_a_part_of_a_name(database: str) -> None:
    catalogue = Catalogue.open(database)
    filled(catalogue, 200)
    page = catalogue.inspections.page(InspectionFilter(text="sn000042"))
    assert [inspection.part_id for inspection in page.items] == ["SN000042"]
    assert catalogue.inspections.page(InspectionFilter(text="%")).items == ()
    catalogue.close()


def test_inspections_are_streamed_as_they_are_recorded_and_the_server_still_stops_at_once(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", REFRESH_INTERVAL_MS="50").wait_until_live() as server:
        server.client.post("/references", data={"category": "disc"}, files=files(*map(part, range(3))))
        with server.client.stream("GET", "/inspections/stream", params={"station": "S1"}) as events:
            lines = events.iter_lines()
            assert next(lines).startswith("retry:")
            sent = {
                station: server.client.post("/detect", data={"station": station}, files=files(part(9))).json()
                for station in ("S2", "S1")
            }
            told = [next(lines) for _ in range(4)][1:]
            requested = sent["S1"]["results"][0]["id"]
            assert told[:2] == ["event: inspection", f"id: {requested}"]
            assert json.loads(told[2].removeprefix("data: "))["station"] == "S1"
            server.process.send_signal(signal.SIGTERM)
            assert "data:" not in "".join(lines), "the stream ended, with nothing told twice"
        assert server.process.wait(20) == 0, "and nobody waited for its reader"


def test_the_scores_of_a_category_are_those_its_threshold_rests_on(taught: TestClient) -> None:
    response = taught.get("/categories/disc/scores").json()
    scores = response["scores"]
    ids = {reference["id"] for reference in taught.get("/references", params={"category": "disc"}).json()["references"]}
    assert set(response["references"]) <= ids
    assert len(set(response["references"])) == len(scores)
    calibration = taught.get("/categories/disc").json()["calibration"]
    assert scores == sorted(scores)
    assert len(scores) == calibration["references"]
    assert calibration["threshold"] in scores
    assert response["rates"][:2] == pytest.approx([1 / (len(scores) + 1), 2 / (len(scores) + 1)], abs=1e-6)
    assert scores[-1 - response["rate_index"]] == calibration["threshold"]
    assert taught.get("/categories/none/scores").status_code == 404


def test_references_have_their_scores_and_are_sorted_by_them(taught: TestClient) -> None:
    calibrated = taught.get("/categories/disc/scores").json()
    scores = dict(zip(calibrated["references"], calibrated["scores"], strict=True))
    query: dict[str, Any] = {"category": "disc", "order": "outliers", "limit": 5}
    listed: list[dict[str, Any]] = []
    while True:
        page = taught.get("/references", params=query).json()
        listed += page["references"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert {reference["id"]: reference["score"] for reference in listed if reference["score"] is not None} == scores
    order = [reference["score"] for reference in listed]
    assert order[: len(scores)] == sorted(scores.values(), reverse=True)
    assert order[len(scores) :] == [None] * (24 - len(scores))  # near-duplicates
    assert taught.get(f"/references/{listed[0]['id']}").json()["score"] == calibrated["scores"][-1]
    check_problem(taught.get("/references", params={"order": "outliers"}), 422, "invalid-request")


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_time_that_no_calendar_has_in_utc_is_refused(taught: TestClient, time: str) -> None:
    for path in ("/inspections", "/inspections?format=csv", "/inspections/trend", "/inspections/stream"):
        for name in ("since", "until"):
            response = taught.get(path, params={**dict(httpx.QueryParams(path.partition("?")[2])), name: time})
            assert response.status_code == 422, f"{path} {name}"
            assert f"query.{name}" in response.json()["detail"]
