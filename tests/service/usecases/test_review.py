"""The review queue: what waits, what an engineer makes of it, and that only what is approved becomes a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from service.auth import Role, generate_api_key
from tests.helpers.http_service import check_problem, inspect, made_from, running_service, say, teach
from tests.helpers.part_images import part, varied


@dataclass(frozen=True)
class Plant:
    """A service that asks for keys, as an engineer and as an operator call it."""

    client: TestClient
    operator: dict[str, str]

    def waiting(self, **query: str) -> list[dict[str, Any]]:
        response = self.client.get("/review", params=query)
        assert response.status_code == 200, response.text
        page = response.json()
        assert page["waiting"] == len(page["inspections"])
        inspections: list[dict[str, Any]] = page["inspections"]
        return inspections

    def ids(self, **query: str) -> list[str]:
        return [inspection["id"] for inspection in self.waiting(**query)]

    def say(self, inspection: dict[str, Any], label: str) -> httpx.Response:
        """An operator's label."""
        path = f"/inspections/{inspection['id']}/feedback"
        return self.client.post(path, json={"label": label, "confirm": True}, headers=self.operator)

    def decide(self, decision: str, *ids: str, **more: object) -> list[dict[str, Any]]:
        response = self.client.post("/review", json={"inspections": ids, "decision": decision, **more})
        assert response.status_code == 200, response.text
        results: list[dict[str, Any]] = response.json()["results"]
        assert [result["inspection_id"] for result in results] == list(ids)
        return results

    def configure(self, **changes: object) -> None:
        assert self.client.patch("/categories/disc", json=changes).status_code == 200


@pytest.fixture(scope="module")
def module_plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    data = tmp_path_factory.mktemp("data")
    keys = {role: generate_api_key(role.word, role) for role in (Role.OPERATOR, Role.ENGINEER)}
    with running_service(data, access="keys") as client:
        catalogue = Catalogue.open(DataFolder.existing(data).database)
        for key in keys.values():
            catalogue.api_keys.create(key.key)
        catalogue.close()
        bearer = {role: {"Authorization": f"Bearer {key.token}"} for role, key in keys.items()}
        client.headers.update(bearer[Role.ENGINEER])
        teach(client, "disc", *(varied(seed) for seed in range(24)), rate=0.05)
        teach(client, "plate", *(part(seed, kind=1) for seed in range(6)))
        yield Plant(client, bearer[Role.OPERATOR])


@pytest.fixture
def plant(module_plant: Plant) -> Plant:
    """The service with an empty queue, and nothing near its threshold."""
    module_plant.configure(review_band=0, review_feedback=True)
    if ids := module_plant.ids():
        module_plant.decide("dismiss", *ids)
    return module_plant


def test_an_operator_s_good_becomes_a_reference_only_when_an_engineer_approves_it(plant: Plant) -> None:
    fine = inspect(plant.client, varied(80), category="disc")
    before = plant.client.get("/categories/disc").json()["references"]
    said = plant.say(fine, "good").json()
    assert (said["label"], said["promoted_reference_id"], said["review"]) == ("good", None, "feedback")
    assert made_from(plant.client) == {}
    check_problem(plant.client.get("/review", headers=plant.operator), 403, "forbidden")
    body = {"inspections": [fine["id"]], "decision": "good"}
    check_problem(plant.client.post("/review", json=body, headers=plant.operator), 403, "forbidden")
    assert plant.ids(reason="feedback", category="disc") == [fine["id"]]
    assert plant.ids(reason="unfamiliar") == plant.ids(category="plate") == []

    for _ in range(2):  # safe to repeat
        [approved] = plant.decide("good", fine["id"])
        assert approved["inspection"]["reviewed_at"] is not None
        assert made_from(plant.client) == {approved["inspection"]["promoted_reference_id"]: fine["id"]}
    assert plant.client.get("/categories/disc").json()["references"] == before + 1
    assert plant.ids() == []

    [reopened] = plant.decide("reopen", fine["id"])
    assert (reopened["inspection"]["label"], reopened["inspection"]["reviewed_at"]) == ("good", None)
    assert made_from(plant.client) == {}
    assert plant.ids() == [fine["id"]]
    assert plant.say(fine, "none").json()["review"] is None
    assert plant.ids() == []


def test_one_that_fails_keeps_none_of_the_others_from_its_decision(plant: Plant) -> None:
    doubtful = inspect(plant.client, part(50, kind=1), category="disc")
    assert doubtful["verdict"] == "unfamiliar"
    fine = inspect(plant.client, varied(81), category="disc")
    plant.say(fine, "good")
    assert plant.ids() == [fine["id"], doubtful["id"]]
    held, unknown, approved = plant.decide("good", doubtful["id"], "nowhere", fine["id"])
    assert held["error"]["type"] == "/problems/confirmation-needed"
    assert {reason["reason"] for reason in held["error"]["effect"]["reasons"]} >= {"threshold", "unfamiliar"}
    assert unknown["error"]["type"] == "/problems/not-found"
    assert approved["inspection"]["label"] == "good"
    assert list(made_from(plant.client).values()) == [fine["id"]]
    assert plant.ids() == [doubtful["id"]]
    [confirmed] = plant.decide("good", doubtful["id"], confirm=True)
    assert confirmed["error"] is None
    plant.decide("reopen", doubtful["id"], fine["id"])
    assert made_from(plant.client) == {}
    plant.decide("defect", doubtful["id"])
    plant.decide("dismiss", fine["id"])
    assert plant.ids() == []
    assert plant.client.get(f"/inspections/{doubtful['id']}").json()["label"] == "defect"


def test_parts_near_the_threshold_wait_and_trials_never_do(plant: Plant) -> None:
    inspect(plant.client, varied(82), category="disc")
    assert plant.ids() == []
    plant.configure(review_band=1)
    near = inspect(plant.client, varied(82), category="disc")
    assert near["review"] == "near_threshold"
    inspect(plant.client, varied(83), category="disc", record="false")
    assert plant.ids() == [near["id"]]
    say(plant.client, near, "defect")
    assert plant.ids() == [], "a label is a decision"
    say(plant.client, near, "none")
    assert plant.ids() == [near["id"]], "and without it there is none"


def test_where_operators_may_make_references_only_doubtful_ones_wait(plant: Plant) -> None:
    plant.configure(review_feedback=False)
    fine = inspect(plant.client, varied(84), category="disc")
    assert plant.say(fine, "good").json()["promoted_reference_id"] is not None
    assert plant.ids() == []
    scratched = inspect(plant.client, varied(60, scratched=True), category="disc")
    said = plant.say(scratched, "good").json()
    assert (said["label"], said["promoted_reference_id"], said["review"]) == ("good", None, "feedback")
    assert plant.ids() == [scratched["id"]]
    assert list(made_from(plant.client).values()) == [fine["id"]]
    plant.say(fine, "none")


def test_an_engineer_s_own_good_needs_no_approval(plant: Plant) -> None:
    fine = inspect(plant.client, varied(85), category="disc")
    assert say(plant.client, fine, "good").json()["promoted_reference_id"] is not None
    assert plant.ids() == []
    say(plant.client, fine, "none")


def test_a_bad_request_is_refused(plant: Plant) -> None:
    for body in (
        {"inspections": [], "decision": "good"},
        {"inspections": ["x"] * 101, "decision": "good"},
        {"inspections": ["x"], "decision": "maybe"},
        {"inspections": ["x"], "decision": "good", "more": 1},
    ):
        check_problem(plant.client.post("/review", json=body), 422, "invalid-request")
    for query in ({"reason": "x"}, {"limit": 0}, {"cursor": "x"}):
        check_problem(plant.client.get("/review", params=query), 422, "invalid-request")
    check_problem(plant.client.patch("/categories/disc", json={"review_band": 1.5}), 422, "invalid-request")
