"""Tuning recommends a setting that truly separates better, says where none does, and can be cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.helpers.http_service import check_problem, files, running_service, teach, wait_until_calibrated
from tests.helpers.part_images import textured
from tests.helpers.waiting import eventually

GOOD, DEFECTIVE = 16, 8


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that knows 10 discs; nothing but a small share of the map tells those with a dot apart."""
    with running_service(tmp_path_factory.mktemp("data")) as running:
        teach(running, "disc", *(textured(seed) for seed in range(10)), rate=0.1)
        yield running


def fill_test_set(client: TestClient, good: list[bytes], defective: list[bytes]) -> None:
    """Have these images, and no others, be the test set."""
    for image in client.get("/categories/disc/test-images").json()["images"]:
        client.delete(f"/categories/disc/test-images/{image['id']}").raise_for_status()
    for images, label in ((good, "false"), (defective, "true")):
        for start in range(0, len(images), 8):
            body = files(*images[start : start + 8])
            client.post("/categories/disc/test-images", data={"defective": label}, files=body).raise_for_status()


def tuned(client: TestClient) -> dict[str, Any]:
    """The outcome of a tuning that is asked for now."""
    client.post("/categories/disc/tuning").raise_for_status()

    def finished() -> bool:
        return client.get("/categories/disc/tuning").json()["tuning"]["finished_at"] is not None

    eventually(finished, "the tuning did not end", 120)
    outcome: dict[str, Any] = client.get("/categories/disc/tuning").json()["tuning"]
    return outcome


def test_a_setting_that_separates_better_is_found_applied_and_then_nothing_is_better(client: TestClient) -> None:
    client.patch("/categories/disc", json={"pooled_share": 0.5}).raise_for_status()  # in which a dot drowns
    fill_test_set(
        client,
        [textured(seed) for seed in range(100, 100 + GOOD)],
        [textured(seed, dotted=True) for seed in range(200, 200 + DEFECTIVE)],
    )
    outcome = tuned(client)
    result = outcome["result"]
    assert (outcome["error"], outcome["done"], outcome["outdated"]) == (None, GOOD + DEFECTIVE, False)
    assert (result["good"], result["defective"], result["skipped"]) == (GOOD, DEFECTIVE, 0)
    assert result["better"], result
    assert result["changes"]["pooled_share"] <= 0.05
    assert 0 < result["low"] < result["gain"] < result["high"]
    assert client.get("/categories/disc").json()["settings"]["pooled_share"] == 0.5

    client.patch("/categories/disc", json=result["changes"]).raise_for_status()
    assert client.get("/categories/disc/tuning").json()["tuning"]["outdated"]
    again = tuned(client)["result"]
    assert not again["better"]
    assert again["auroc"] > result["auroc"]
    entries = client.get("/audit", params={"target": "disc"}).json()["entries"]
    assert [entry["action"] for entry in entries].count("tuning.requested") == 2


def test_a_finer_geometry_is_recommended_where_defects_are_smaller_than_a_cell(tmp_path: Path) -> None:
    with running_service(tmp_path) as client:
        body = {"category": "disc", "cells": "30"}
        images = files(*(textured(seed) for seed in range(10)))
        client.post("/references", data=body, files=images).raise_for_status()
        client.patch("/categories/disc", json={"false_reject_rate": 0.1}).raise_for_status()
        wait_until_calibrated(client, "disc")
        good, defective = range(100, 100 + GOOD), range(200, 200 + DEFECTIVE)
        fill_test_set(client, [textured(seed) for seed in good], [textured(seed, dotted=True) for seed in defective])
        outcome = tuned(client)
        assert outcome["settings"]["geometry"] == {"cells": 30}
        assert outcome["result"]["better"], outcome["result"]
        assert outcome["result"]["changes"]["geometry"] == {"cells": 60}
        changed = client.patch("/categories/disc", json=outcome["result"]["changes"]).raise_for_status().json()
        assert changed["geometry_change"]["geometry"]["grid"] == [7, 8]


def test_a_geometry_in_which_the_region_of_interest_covers_no_cell_is_not_tried(tmp_path: Path) -> None:
    with running_service(tmp_path) as client:
        body = {"category": "disc", "cells": "30"}
        images = files(*(textured(seed) for seed in range(10)))
        client.post("/references", data=body, files=images).raise_for_status()
        corners = [[0.34, 0.42], [0.48, 0.42], [0.48, 0.56], [0.34, 0.56]]  # of half a cell of 30
        region = {"false_reject_rate": 0.1, "region_of_interest": {"polygons": [corners]}}
        client.patch("/categories/disc", json=region).raise_for_status()
        wait_until_calibrated(client, "disc")
        good, defective = range(100, 116), range(200, 208)
        fill_test_set(client, [textured(seed) for seed in good], [textured(seed, dotted=True) for seed in defective])
        outcome = tuned(client)
        assert outcome["error"] is None
        assert outcome["result"]["candidates"] == 2 * 392  # with 30 and 60 cells


def test_where_labels_say_nothing_no_setting_is_recommended(client: TestClient) -> None:
    parts = [textured(seed) for seed in range(300, 300 + GOOD + DEFECTIVE)]
    fill_test_set(client, parts[:GOOD], parts[GOOD:])
    result = tuned(client)["result"]
    assert not result["better"]
    assert result["low"] <= 0


def test_a_tuning_is_cancelled_and_too_few_images_are_refused(client: TestClient) -> None:
    path = "/categories/disc/tuning"
    fill_test_set(client, [textured(seed) for seed in range(400, 416)], [textured(seed) for seed in range(500, 508)])
    first = client.post(path).json()["tuning"]
    assert client.post(path).json()["tuning"]["requested_at"] == first["requested_at"]  # the same, not another
    assert client.delete(path).json()["tuning"] is None
    assert client.delete(path).json()["tuning"] is None
    assert client.get(path).json() == {"tuning": None, "min_good": 16, "min_defective": 8}
    image = client.get("/categories/disc/test-images").json()["images"][0]["id"]
    client.delete(f"/categories/disc/test-images/{image}").raise_for_status()
    assert "At least 16 good" in str(check_problem(client.post(path), 409, "conflict")["detail"])
    check_problem(client.post("/categories/nothing/tuning"), 404, "not-found")


def test_a_change_of_references_while_it_is_under_way_ends_it_with_the_reason(client: TestClient) -> None:
    fill_test_set(client, [textured(seed) for seed in range(600, 616)], [textured(seed) for seed in range(700, 708)])
    client.post("/categories/disc/tuning").raise_for_status()

    def begun() -> bool:
        return client.get("/categories/disc/tuning").json()["tuning"]["done"] > 0

    eventually(begun, "the tuning did not begin", 60)
    client.post("/references", data={"category": "disc"}, files=files(textured(50))).raise_for_status()
    eventually(lambda: client.get("/categories/disc/tuning").json()["tuning"]["error"] is not None, "it went on", 60)
    assert "changed meanwhile" in client.get("/categories/disc/tuning").json()["tuning"]["error"]


def test_a_tuning_goes_on_after_a_restart(tmp_path: Path) -> None:
    with running_service(tmp_path) as client:
        teach(client, "disc", *(textured(seed) for seed in range(10)), rate=0.1)
        fill_test_set(
            client,
            [textured(seed) for seed in range(600, 616)],
            [textured(seed, dotted=True) for seed in range(700, 708)],
        )
        client.post("/categories/disc/tuning").raise_for_status()
    with running_service(tmp_path) as again:
        eventually(
            lambda: again.get("/categories/disc/tuning").json()["tuning"]["result"] is not None, "it did not end", 120
        )
