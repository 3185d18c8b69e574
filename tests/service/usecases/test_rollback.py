"""A category is rolled back to the settings and references of an evaluation, and what cannot be is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.helpers.http_service import check_problem, files, onboard, running_service, wait_until_calibrated
from tests.helpers.part_images import varied
from tests.helpers.waiting import eventually


@pytest.fixture
def disc(client: TestClient) -> TestClient:
    """A service that knows 12 discs, with a test set of two images."""
    onboard(client, "disc", *(varied(seed) for seed in range(12)))
    client.patch("/categories/disc", json={"false_reject_rate": 0.1, "k": 9}).raise_for_status()
    add_test_image(client, 100, defective=False)
    add_test_image(client, 101, defective=True)
    return client


def add_test_image(client: TestClient, seed: int, *, defective: bool) -> None:
    body = {"defective": str(defective).lower()}
    image = varied(seed, scratched=defective)
    client.post("/categories/disc/test-images", data=body, files=files(image)).raise_for_status()


def evaluated(client: TestClient, count: int = 1) -> dict[str, Any]:
    """The latest evaluation, once so many are finished."""
    wait_until_calibrated(client, "disc")

    def finished() -> list[dict[str, Any]]:
        evaluations = client.get("/categories/disc/evaluations").json()["evaluations"]
        return [
            evaluation
            for evaluation in evaluations
            if evaluation["finished_at"] is not None and evaluation["images"] == 2
        ]

    eventually(lambda: len(finished()) >= count, "the test set was not evaluated", 60)
    return finished()[0]


def live(client: TestClient) -> set[str]:
    """The sha256 of the live references."""
    page = client.get("/references", params={"category": "disc", "limit": 1000}).json()
    return {reference["sha256"] for reference in page["references"]}


def test_a_change_of_settings_and_references_is_rolled_back_as_a_whole(disc: TestClient) -> None:
    before = evaluated(disc)
    ids = [reference["id"] for reference in disc.get("/references", params={"category": "disc"}).json()["references"]]
    known, settings = live(disc), disc.get("/categories/disc").json()["settings"]
    settings["defect_classes"] = ["scratch"]  # which stay: nothing is detected by them
    [added] = onboard(disc, "disc", varied(50))
    for reference_id in ids[:3]:
        disc.delete(f"/references/{reference_id}").raise_for_status()
    disc.post(f"/references/{ids[0]}/restore").raise_for_status()  # which is no change in the end
    polygons = {"polygons": [[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]]}
    changes = {"k": 4, "threshold": 0.5, "region_of_interest": polygons, "defect_classes": ["scratch"]}
    disc.patch("/categories/disc", json=changes).raise_for_status()
    evaluated(disc, 2)

    path = f"/categories/disc/evaluations/{before['id']}"
    since = disc.get(f"{path}/changes").json()
    assert since["then"] == {"k": 9, "threshold": None, "region_of_interest": None}
    assert since["now"]["region_of_interest"] == {**polygons, "ignored": [], "mask": False}
    assert (since["added"], since["removed"]) == ([added], ids[1:3])
    assert (since["encoder_changed"], since["geometry_changed"]) == (False, False)

    first = disc.post(f"{path}/roll-back", params={"limit": 1}).json()
    assert (first["restored"], first["settings"], first["removed"]) == (1, [], 0)
    last = disc.post(f"{path}/roll-back", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert (last["restored"], last["removed"], last["lost"], last["next_cursor"]) == (1, 1, [], None)
    assert set(last["settings"]) == {"k", "threshold", "region_of_interest"}
    assert live(disc) == known
    assert disc.get("/categories/disc").json()["settings"] == settings
    assert evaluated(disc, 3)["summary"] == before["summary"]

    repeated = disc.post(f"{path}/roll-back").json()
    assert (repeated["settings"], repeated["removed"], repeated["restored"]) == ([], 0, 0)
    actions = [entry["action"] for entry in disc.get("/audit").json()["entries"]]
    assert {"settings.changed", "references.removed", "references.added"} <= set(actions)


def test_a_reference_whose_image_is_lost_keeps_nothing_else_from_being_rolled_back(tmp_path: Path) -> None:
    with running_service(tmp_path) as client:
        ids = onboard(client, "disc", *(varied(seed) for seed in range(6)))
        client.patch("/categories/disc", json={"false_reject_rate": 0.2}).raise_for_status()
        add_test_image(client, 100, defective=False)
        add_test_image(client, 101, defective=True)
        before = evaluated(client)
        for reference_id in ids[:2]:
            client.delete(f"/references/{reference_id}").raise_for_status()
        sha256 = client.get(f"/references/{ids[0]}").json()["sha256"]
        [file] = (tmp_path / "originals").rglob(f"{sha256}*")
        file.unlink()
        done = client.post(f"/categories/disc/evaluations/{before['id']}/roll-back").json()
        assert [reference["reference_id"] for reference in done["lost"]] == [ids[0]]
        assert (done["restored"], done["next_cursor"]) == (1, None)
        assert len(live(client)) == 5


def test_a_change_of_geometry_is_reported_and_unknown_evaluations_are_not_found(disc: TestClient) -> None:
    before = evaluated(disc)
    disc.patch("/categories/disc", json={"geometry": {"cells": 36}}).raise_for_status()
    path = f"/categories/disc/evaluations/{before['id']}"
    eventually(lambda: disc.get(f"{path}/changes").json()["geometry_changed"], "the geometry did not change", 60)
    assert disc.get(f"{path}/changes").json()["then"] == {}
    check_problem(disc.get("/categories/disc/evaluations/999/changes"), 404, "not-found")
    check_problem(disc.post("/categories/disc/evaluations/999/roll-back"), 404, "not-found")
    check_problem(disc.post(f"{path}/roll-back", params={"cursor": "x"}), 422, "invalid-request")
