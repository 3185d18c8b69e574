"""A removed category is restored with its settings and the references removed with it, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.state import AppState
from tests.helpers.http_service import check_problem, inspect, made_from, onboard, say, settings, wait_until_calibrated
from tests.helpers.part_images import part, varied


def removed(client: TestClient) -> dict[str, int]:
    """What can be restored: the references of each category."""
    return {category["name"]: category["references"] for category in client.get("/categories").json()["removed"]}


def names(client: TestClient, category: str) -> list[str]:
    page = client.get("/references", params={"category": category, "limit": 1000}).json()
    return sorted(reference["filename"] for reference in page["references"])


def test_a_category_comes_back_as_it_was(client: TestClient) -> None:
    ids = onboard(client, "disc", *(varied(seed) for seed in range(12)))
    client.patch("/categories/disc", json={"false_reject_rate": 0.1, "k": 9}).raise_for_status()
    before = wait_until_calibrated(client, "disc")
    client.delete(f"/references/{ids[0]}").raise_for_status()  # by itself: it does not come back with the others
    known = client.get("/categories/disc").json()
    stored = names(client, "disc")
    client.delete("/categories/disc").raise_for_status()
    assert removed(client) == {"disc": 11}
    check_problem(client.get("/categories/disc"), 404, "not-found")

    restored = client.post("/categories/disc/restore", params={"limit": 64}).raise_for_status().json()
    assert (restored["restored"], restored["lost"], restored["next_cursor"]) == (11, [], None)
    assert removed(client) == {}
    after = client.get("/categories/disc").json()
    assert (after["settings"], after["created"]) == (known["settings"], known["created"])
    assert names(client, "disc") == stored
    client.post(f"/references/{ids[0]}/restore").raise_for_status()
    calibration = wait_until_calibrated(client, "disc")
    assert calibration["threshold"] == pytest.approx(before["threshold"], abs=1e-6)
    assert [entry["action"] for entry in client.get("/audit", params={"target": "disc"}).json()["entries"]].count(
        "category.restored"
    ) == 1


def test_a_category_is_restored_in_pages_and_a_lost_response_is_harmless(client: TestClient) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(5)))
    client.delete("/categories/disc").raise_for_status()
    first = client.post("/categories/disc/restore", params={"limit": 2}).json()
    assert (first["restored"], first["category"]["references"]) == (2, 2)
    repeated = client.post("/categories/disc/restore", params={"limit": 2}).json()  # as if the answer had been lost
    assert (repeated["restored"], repeated["category"]["references"]) == (2, 4)
    last = client.post("/categories/disc/restore", params={"limit": 2, "cursor": repeated["next_cursor"]}).json()
    assert (last["restored"], last["category"]["references"], last["next_cursor"]) == (1, 5, None)
    assert client.post("/categories/disc/restore").json()["restored"] == 0


def test_a_category_that_is_removed_again_before_all_of_it_was_restored_loses_nothing(client: TestClient) -> None:
    ids = onboard(client, "disc", *(varied(seed) for seed in range(5)))
    client.delete(f"/references/{ids[4]}").raise_for_status()  # by itself: it does not come back with the others
    client.delete("/categories/disc").raise_for_status()
    assert client.post("/categories/disc/restore", params={"limit": 2}).json()["restored"] == 2  # the browser is closed
    client.delete("/categories/disc").raise_for_status()
    assert removed(client) == {"disc": 4}
    answer = client.post("/categories/disc/restore").json()
    assert (answer["restored"], answer["category"]["references"]) == (4, 4)
    client.delete("/categories/disc").raise_for_status()
    assert removed(client) == {"disc": 4}


def test_a_lost_image_does_not_prevent_the_restore_of_others(client: TestClient, tmp_path: Path) -> None:
    onboard(client, "disc", *(part(seed) for seed in range(3)))
    [second] = [
        reference for reference in client.get("/references").json()["references"] if reference["filename"] == "1.png"
    ]
    client.delete("/categories/disc").raise_for_status()
    [original] = (tmp_path / "originals").rglob(f"{second['sha256']}*")
    original.write_bytes(b"damaged")
    restored = client.post("/categories/disc/restore").json()
    assert restored["restored"] == 2
    assert [(lost["reference_id"], lost["filename"]) for lost in restored["lost"]] == [(second["id"], "1.png")]
    assert "missing or damaged" in restored["lost"][0]["detail"]


def test_a_category_whose_every_image_is_lost_comes_back_with_its_settings(client: TestClient, tmp_path: Path) -> None:
    onboard(client, "disc", part(0), part(1))
    client.patch("/categories/disc", json={"k": 9}).raise_for_status()
    client.delete("/categories/disc").raise_for_status()
    for original in [path for path in (tmp_path / "originals").rglob("*") if path.is_file()]:
        original.unlink()
    restored = client.post("/categories/disc/restore").raise_for_status().json()
    assert (restored["restored"], [lost["filename"] for lost in restored["lost"]]) == (0, ["0.png", "1.png"])
    assert restored["category"]["settings"]["k"] == 9


def test_feedback_begins_no_removed_category_anew(client: TestClient) -> None:
    onboard(client, "disc", *(varied(seed) for seed in range(6)))
    wait_until_calibrated(client, "disc")
    fine = inspect(client, varied(50), category="disc")
    client.delete("/categories/disc").raise_for_status()
    for confirm in (False, True):
        problem = check_problem(say(client, fine, "good", confirm=confirm), 409, "conflict")
        assert "'disc' was removed: restore it first" in problem["detail"]
    say(client, fine, "defect").raise_for_status()  # which needs no category
    assert removed(client) == {"disc": 6}
    client.post("/categories/disc/restore").raise_for_status()
    say(client, fine, "good").raise_for_status()
    assert list(made_from(client).values()) == [fine["id"]]


def test_a_reference_brings_its_category_back_with_its_settings_and_without_the_others(client: TestClient) -> None:
    ids = onboard(client, "disc", *(part(seed) for seed in range(3)))
    client.patch("/categories/disc", json={"k": 9}).raise_for_status()
    client.delete("/categories/disc").raise_for_status()
    client.post(f"/references/{ids[1]}/restore").raise_for_status()
    assert client.get("/categories/disc").json()["settings"]["k"] == 9
    assert names(client, "disc") == ["1.png"]
    assert client.post("/categories/disc/restore").json()["restored"] == 2
    assert names(client, "disc") == ["0.png", "1.png", "2.png"]


def test_what_was_never_there_or_begun_anew_is_told(client: TestClient) -> None:
    check_problem(client.post("/categories/nothing/restore"), 404, "not-found")
    onboard(client, "disc", part(0), part(1))
    client.delete("/categories/disc").raise_for_status()
    onboard(client, "disc", part(2))
    assert removed(client) == {}
    assert client.post("/categories/disc/restore").json()["restored"] == 0  # another one, by the same name
    assert names(client, "disc") == ["0.png"]
    check_problem(client.post("/categories/disc/restore", params={"cursor": "x"}), 422, "invalid-request")
    check_problem(client.post("/categories/disc/restore", params={"limit": 65}), 422, "invalid-request")


def test_a_reference_from_feedback_is_one_still_when_it_comes_back(client: TestClient) -> None:
    onboard(client, "disc", *(varied(seed) for seed in range(6)))
    wait_until_calibrated(client, "disc")
    fine = inspect(client, varied(50), category="disc")
    say(client, fine, "good", confirm=True).raise_for_status()
    [promoted] = made_from(client)
    assert made_from(client) == {promoted: fine["id"]}
    page = client.get("/references", params={"from_feedback": True}).json()
    assert [reference["id"] for reference in page["references"]] == [promoted]
    client.delete(f"/references/{promoted}").raise_for_status()
    client.post(f"/references/{promoted}/restore").raise_for_status()
    assert list(made_from(client).values()) == [fine["id"]]
    client.delete("/categories/disc").raise_for_status()
    client.post("/categories/disc/restore").raise_for_status()
    assert list(made_from(client).values()) == [fine["id"]]


def test_replicas_restore_at_the_same_time_what_is_there_once(tmp_path: Path) -> None:
    one, other = (TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") for _ in "12")
    with one, other:
        onboard(one, "disc", *(part(seed) for seed in range(4)))
        one.delete("/categories/disc").raise_for_status()
        for client in (one, other):
            client.post("/categories/disc/restore").raise_for_status()
        assert len(names(other, "disc")) == 4
