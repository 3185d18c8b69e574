"""Feedback adds a reference once, can be undone, and needs confirmation if its effect is large."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from service.app import create_app
from service.auth import Role, generate_api_key
from service.state import AppState
from tests.helpers.database_proxy import DatabaseProxy
from tests.helpers.http_service import (
    check_problem,
    inspect,
    made_from,
    onboard,
    running_service,
    say,
    settings,
    teach,
    wait_until_calibrated,
)
from tests.helpers.part_images import part, varied
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess


def reasons(problem: dict[str, Any]) -> set[str]:
    return {reason["reason"] for reason in problem["effect"]["reasons"]}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that knows 24 discs and 6 plates, calibrated."""
    with running_service(tmp_path_factory.mktemp("data")) as client:
        teach(client, "disc", *(varied(seed) for seed in range(24)), rate=0.05)
        teach(client, "plate", *(part(seed, kind=1) for seed in range(6)))
        yield client


def test_a_wrong_product_called_good_is_held_and_poisons_no_threshold(known: TestClient) -> None:
    before = wait_until_calibrated(known, "disc")
    wrong = inspect(known, part(50, kind=1), category="disc")
    body = check_problem(say(known, wrong, "good"), 409, "confirmation-needed")
    effect = body["effect"]
    assert effect["threshold_before"] == pytest.approx(before["threshold"])
    assert effect["threshold_after"] == pytest.approx(effect["score"])
    assert effect["threshold_after"] > 2 * effect["outlier_limit"] > 2 * effect["threshold_before"]
    assert reasons(body) >= {"threshold", "unfamiliar", "other_category"}
    assert next(reason["category"] for reason in effect["reasons"] if reason["reason"] == "other_category") == "plate"
    assert body["confirm_role"] == "engineer"
    assert made_from(known) == {}
    assert known.get(f"/inspections/{wrong['id']}").json()["label"] is None
    assert wait_until_calibrated(known, "disc") == before
    check_problem(say(known, wrong, "good", confirm=False), 409, "confirmation-needed")


def test_what_was_confirmed_does_what_was_told_is_seen_as_from_feedback_and_can_be_taken_back(
    known: TestClient,
) -> None:
    before = wait_until_calibrated(known, "disc")
    defect = inspect(known, varied(60, scratched=True), category="disc")
    effect = check_problem(say(known, defect, "good"), 409, "confirmation-needed")["effect"]
    judged = say(known, defect, "good", confirm=True).json()
    assert made_from(known) == {judged["promoted_reference_id"]: defect["id"]}
    after = wait_until_calibrated(known, "disc")
    # The effect is worked out with the layer weights of now, which one reference more changes a little.
    assert after["threshold"] == pytest.approx(effect["threshold_after"], rel=0.005)
    assert say(known, defect, "good").json() == judged  # what was confirmed needs it no more
    entry = known.get("/audit", params={"action": "inspection.labelled"}).json()["entries"][0]
    assert entry["after"]["confirmed"] == ["threshold"]
    assert say(known, defect, "none").json()["label"] is None
    assert made_from(known) == {}
    assert wait_until_calibrated(known, "disc")["threshold"] == pytest.approx(before["threshold"], abs=1e-6)


def test_a_defect_is_given_a_class_of_its_category_and_a_comment_and_both_can_be_changed(known: TestClient) -> None:
    classes = [" Ma\u0308kel ", "scratch"]
    patched = known.patch("/categories/disc", json={"defect_classes": classes}).json()
    assert patched["settings"]["defect_classes"] == ["M\u00e4kel", "scratch"]
    part_ = inspect(known, varied(61, scratched=True), category="disc", station="classes")
    said = say(known, part_, "defect", defect_class="Ma\u0308kel", comment=" at the rim ").json()
    assert (said["label"], said["defect_class"], said["comment"]) == ("defect", "M\u00e4kel", "at the rim")
    assert say(known, part_, "defect").json() == said
    assert say(known, part_, "defect", defect_class="scratch", comment=None).json()["comment"] is None
    entry = known.get("/audit", params={"action": "inspection.labelled"}).json()["entries"][0]
    assert (entry["before"]["defect_class"], entry["after"]["defect_class"]) == ("M\u00e4kel", "scratch")
    refused = check_problem(say(known, part_, "defect", defect_class="dent"), 409, "conflict")
    assert "M\u00e4kel, scratch" in str(refused["detail"])
    known.patch("/categories/disc", json={"defect_classes": []})
    assert say(known, part_, "defect", defect_class="scratch", comment="kept").status_code == 200
    query = {"station": "classes", "defect_class": "scratch"}
    assert [inspection["comment"] for inspection in known.get("/inspections", params=query).json()["inspections"]] == [
        "kept"
    ]
    assert ",scratch,kept" in known.get("/inspections", params={**query, "format": "csv"}).text
    assert known.get("/inspections", params={"defect_class": "dent"}).json()["inspections"] == []
    assert say(known, part_, "none").json()["defect_class"] is None


@pytest.mark.parametrize("body", [{"label": "good", "comment": "x"}, {"label": "none", "defect_class": None}])
def test_only_a_defect_has_a_class_and_a_comment(known: TestClient, body: dict[str, Any]) -> None:
    part_ = inspect(known, varied(62), category="disc")
    check_problem(known.post(f"/inspections/{part_['id']}/feedback", json=body), 422, "invalid-request")


@pytest.mark.parametrize("classes", [["a", "A"], [" "], ["a\nb"], [str(index) for index in range(51)]])
def test_classes_that_cannot_be_told_apart_are_refused(known: TestClient, classes: list[str]) -> None:
    check_problem(known.patch("/categories/disc", json={"defect_classes": classes}), 422, "invalid-request")


def test_a_part_as_good_as_the_others_needs_no_confirmation(known: TestClient) -> None:
    for seed in range(80, 84):
        fine = inspect(known, varied(seed), category="disc")
        assert say(known, fine, "good").status_code == 200
        assert say(known, fine, "none").status_code == 200
    assert made_from(known) == {}


def test_a_part_that_looked_unfamiliar_is_held_though_it_no_longer_does(known: TestClient) -> None:
    wrong = inspect(known, part(51, kind=1), category="disc")
    assert wrong["verdict"] == "unfamiliar"
    added = onboard(known, "disc", *(part(seed, kind=1) for seed in range(52, 58)))
    assert "unfamiliar" in reasons(check_problem(say(known, wrong, "good"), 409, "confirmation-needed"))
    for reference in added:
        known.delete(f"/references/{reference}")
    wait_until_calibrated(known, "disc")


def test_while_the_effect_is_not_known_good_is_held_too(tmp_path: Path) -> None:
    running = AppState.start(
        settings(tmp_path, refresh_interval_ms=3_600_000)
    )  # calibrated once, before there is anything
    with TestClient(create_app(running), base_url="http://localhost") as client:
        onboard(client, "disc", *(varied(seed) for seed in range(8)))
        fine = inspect(client, varied(20))
        body = check_problem(say(client, fine, "good"), 409, "confirmation-needed")
        assert reasons(body) == {"not_calibrated"}
        assert (body["effect"]["threshold_before"], body["effect"]["threshold_after"]) == (None, None)
        assert say(client, fine, "good", confirm=True).status_code == 200


def test_with_a_few_references_a_wrong_product_is_held_too(tmp_path: Path) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as client:
        onboard(client, "disc", *(varied(seed) for seed in range(3)))
        wait_until_calibrated(client, "disc")
        body = check_problem(say(client, inspect(client, part(1, kind=1)), "good"), 409, "confirmation-needed")
        assert reasons(body) == {"threshold"}
        assert say(client, inspect(client, varied(5)), "good").status_code == 200


def test_who_may_confirm_can_be_reserved(tmp_path: Path) -> None:
    data = tmp_path / "data"
    keys = {role: generate_api_key(role.word, role) for role in (Role.ENGINEER, Role.ADMIN)}
    with ServerProcess(data, ACCESS="keys", CONFIRM_ROLE="admin").wait_until_live() as server:
        catalogue = Catalogue.open(DataFolder.existing(data).database)
        for key in keys.values():
            catalogue.api_keys.create(key.key)
        catalogue.close()
        server.client.headers["Authorization"] = f"Bearer {keys[Role.ENGINEER].token}"
        server.teach("disc", *(varied(seed) for seed in range(8)))
        server.wait_until_calibrated("disc")
        wrong = inspect(server.client, part(1, kind=1))
        assert check_problem(say(server.client, wrong, "good"), 409, "confirmation-needed")["confirm_role"] == "admin"
        body = check_problem(say(server.client, wrong, "good", confirm=True), 403, "forbidden")
        assert "threshold" in reasons(body)
        assert made_from(server.client) == {}
        assert say(server.client, inspect(server.client, varied(30)), "good").status_code == 200
        server.client.headers["Authorization"] = f"Bearer {keys[Role.ADMIN].token}"
        assert say(server.client, wrong, "good", confirm=True).status_code == 200
        assert wrong["id"] in made_from(server.client).values()


def test_concurrent_good_labels_on_two_replicas_make_one_promotion_that_can_be_undone(
    tmp_path: Path, database: str
) -> None:
    shared = {"DATABASE_URL": database}
    with (
        ServerProcess(tmp_path / "data", **shared).wait_until_live() as one,
        ServerProcess(tmp_path / "data", **shared).wait_until_live() as two,
    ):
        one.teach("disc", varied(1), varied(2))
        for seed in range(10, 14):
            inspected = inspect(one.client, varied(seed), min_version="2")
            with ThreadPoolExecutor(8) as pool:
                responses = list(pool.map(lambda turn: say((one, two)[turn % 2].client, inspected, "good"), range(8)))  # noqa: B023
            assert [response.status_code for response in responses] == [200] * 8
            [promoted] = {response.json()["promoted_reference_id"] for response in responses}
            assert made_from(two.client) == {promoted: inspected["id"]}
            assert say(two.client, inspected, "none").json()["promoted_reference_id"] is None
            assert made_from(one.client) == {}
            assert len(one.references()) == 2


def test_good_and_defect_said_at_once_leave_the_memory_as_the_last_of_them_said(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data").wait_until_live() as server:
        server.teach("disc", varied(1), varied(2))
        for seed in range(10, 16):
            inspected = inspect(server.client, varied(seed))
            words = ["good", "defect", "good", "none", "defect", "good"]
            with ThreadPoolExecutor(6) as pool:
                responses = list(pool.map(lambda word: say(server.client, inspected, word), words))  # noqa: B023
            assert {response.status_code for response in responses} == {200}
            now = server.client.get(f"/inspections/{inspected['id']}").json()
            if now["label"] == "good":
                assert made_from(server.client) == {now["promoted_reference_id"]: inspected["id"]}
            else:
                assert (now["promoted_reference_id"], made_from(server.client)) == (None, {})
            say(server.client, inspected, "none")
            assert len(server.references()) == 2


def test_a_reference_taken_back_by_hand_comes_back_when_its_part_is_called_good_again(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data").wait_until_live() as server:
        server.teach("disc", varied(1), varied(2))
        inspected = inspect(server.client, varied(3))
        first = say(server.client, inspected, "good").json()["promoted_reference_id"]
        server.client.delete(f"/references/{first}")
        assert made_from(server.client) == {}
        assert say(server.client, inspected, "good").json()["promoted_reference_id"] in made_from(server.client)
        say(server.client, inspected, "none")
        assert made_from(server.client) == {}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_feedback_with_a_cut_commit_is_stored_exactly_if_the_response_says_so(
    tmp_path: Path, postgres: PostgresServer, moment: Any
) -> None:
    url = postgres.new_database(migrated=True)
    with (
        DatabaseProxy(url) as proxy,
        ServerProcess(tmp_path / "data", DATABASE_URL=proxy.url).wait_until_live() as server,
    ):
        server.teach("disc", varied(1), varied(2))
        inspected = inspect(server.client, varied(3))
        for word, references in (("good", 3), ("none", 2)):
            proxy.cut_commit(b"UPDATE inspection", moment)
            response = say(server.client, inspected, word)
            assert response.status_code == (200 if moment == "after" else 503)
            assert (len(server.references()) == references) == (moment == "after")
            assert say(server.client, inspected, word).status_code == 200
            assert len(server.references()) == references
        assert proxy.cuts == 2
    postgres.drop(url)
