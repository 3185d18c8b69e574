"""Condensing over HTTP: a coreset is made in the background, searched by every process, and made anew by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from indexer.calibration.calibration import Calibration
from service.app import create_app
from service.state import AppState
from tests.helpers.http_service import Web, check_problem, inspect, onboard, running_service, settings, teach
from tests.helpers.metrics import scrape, value
from tests.helpers.part_images import varied
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import PATIENCE, eventually

REFERENCES = 16
RATE = 0.1
PROBES = [varied(seed) for seed in range(100, 104)] + [varied(seed, scratched=True) for seed in range(104, 107)]


def coreset(client: Web, category: str = "disc") -> dict[str, Any] | None:
    view: dict[str, Any] | None = client.get(f"/categories/{category}").json()["coreset"]
    return view


def condense(client: Web, category: str = "disc", **target: float) -> dict[str, Any]:
    """Have a category condensed; returns the coreset once it is in use and no other is being made."""
    response = client.put(f"/categories/{category}/coreset", json=target)
    assert response.status_code == 200, response.text
    return wait_until_in_use(client, category)


def wait_until_in_use(client: Web, category: str = "disc") -> dict[str, Any]:
    def settled() -> bool:
        view = coreset(client, category)
        return view is not None and view["state"] == "in use" and view["progress"] is None

    eventually(settled, f"{category} was not condensed", 60)
    view = coreset(client, category)
    assert view is not None
    return view


def verdicts(client: Web) -> list[tuple[str, float]]:
    found = [inspect(client, image, category="disc", record="false") for image in PROBES]
    return [(result["verdict"], result["score"]) for result in found]


@pytest.fixture
def condensable(tmp_path: Path) -> Iterator[TestClient]:
    with running_service(tmp_path) as client:
        teach(client, "disc", *map(varied, range(REFERENCES)), rate=RATE)
        yield client


def test_a_condensed_category_gives_the_same_verdicts_and_scores_within_the_bound(condensable: TestClient) -> None:
    client = condensable
    check_problem(client.get("/categories/disc/coreset"), 404, "not-found")
    before = verdicts(client)
    response = client.put("/categories/disc/coreset", json={"share": 0.5})
    assert (response.status_code, response.json()["target"]) == (200, {"share": 0.5, "bound": None})
    made = wait_until_in_use(client)
    assert made == client.get("/categories/disc/coreset").json()
    assert (made["references"], made["patches"], made["beside"], made["error"]) == (REFERENCES, 8, 0, None)
    assert 0 < made["bound"] <= max(made["radii"].values())
    assert made["bytes"] > 0
    calibration = client.get("/categories/disc").json()["calibration"]
    assert calibration["threshold"] is not None
    after = verdicts(client)
    assert [verdict for verdict, _ in after] == [verdict for verdict, _ in before]
    assert {verdict for verdict, _ in after[:4]} == {"normal"}
    assert "normal" not in {verdict for verdict, _ in after[4:]}
    rises = [then - now for (_, then), (_, now) in zip(after, before, strict=True)]
    assert max(rises) <= max(made["radii"].values()) + 1e-5
    assert max(rises) > 0
    assert client.get("/readyz").status_code == 200
    assert value(scrape(client), "background_failures_total", task="condensing") == 0


def test_an_added_reference_is_searched_beside_it_and_many_have_it_made_anew(condensable: TestClient) -> None:
    client = condensable
    first = condense(client, share=0.5)
    image = varied(100)
    assert inspect(client, image, category="disc")["score"] > 1e-3
    onboard(client, "disc", image)
    assert inspect(client, image, category="disc")["score"] == pytest.approx(0, abs=1e-3)
    beside = coreset(client)
    assert beside is not None
    assert (beside["state"], beside["beside"], beside["references"]) == ("in use", 1, REFERENCES)
    assert beside["bytes"] == first["bytes"]
    onboard(client, "disc", *map(varied, range(30, 33)))
    eventually(lambda: (coreset(client) or {})["references"] == REFERENCES + 4, "it was not made anew", 60)
    anew = wait_until_in_use(client)
    assert (anew["patches"], anew["beside"], anew["target"]["share"]) == (10, 0, 0.5)


def test_removing_a_reference_that_it_stands_for_has_another_made(condensable: TestClient) -> None:
    client = condensable
    before = verdicts(client)
    condense(client, share=0.5)
    reference = client.get("/references", params={"category": "disc"}).json()["references"][0]["id"]
    client.delete(f"/references/{reference}").raise_for_status()
    eventually(lambda: (coreset(client) or {})["references"] == REFERENCES - 1, "it was not made anew", 60)
    wait_until_in_use(client)
    assert [verdict for verdict, _ in verdicts(client)] == [verdict for verdict, _ in before]


def test_all_references_are_searched_again_when_it_is_given_up(condensable: TestClient) -> None:
    client = condensable
    before = verdicts(client)
    condense(client, share=0.25)
    assert verdicts(client) != before
    response = client.delete("/categories/disc/coreset")
    assert (response.status_code, response.json()["coreset"]) == (200, None)
    assert verdicts(client) == before
    check_problem(client.get("/categories/disc/coreset"), 404, "not-found")
    assert client.delete("/categories/disc/coreset").status_code == 200
    [given_up, asked] = [
        entry for entry in client.get("/audit").json()["entries"] if entry["action"].startswith("coreset.")
    ]
    assert (given_up["action"], asked["action"]) == ("coreset.dropped", "coreset.requested")


def test_a_category_that_cannot_be_condensed_says_why_and_is_once_it_can(tmp_path: Path) -> None:
    with running_service(tmp_path) as client:
        onboard(client, "disc", varied(0))
        client.put("/categories/disc/coreset", json={"share": 0.5}).raise_for_status()
        eventually(lambda: (coreset(client) or {})["error"] is not None, "no error was noted")
        view = coreset(client)
        assert view is not None
        assert (view["state"], view["references"], view["radii"], view["bound"]) == ("requested", None, None, None)
        assert "1 references" in view["error"] or "saves nothing" in view["error"]
        onboard(client, "disc", *map(varied, range(1, 6)))
        assert wait_until_in_use(client)["error"] is None


BAD: list[dict[str, Any]] = [{}, {"share": 0.5, "bound": 0.1}, {"share": 0.5, "x": 1}, {"share": "0.5"}]
BAD += [{"share": 0}, {"share": 1}, {"bound": 0}, {"bound": 2}]


@pytest.mark.parametrize("body", BAD)
def test_bad_targets_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    onboard(client, "disc", varied(0))
    check_problem(client.put("/categories/disc/coreset", json=body), 422, "invalid-request")
    check_problem(client.get("/categories/disc/coreset"), 404, "not-found")


def test_unknown_categories_have_none(client: TestClient) -> None:
    check_problem(client.put("/categories/nut/coreset", json={"share": 0.5}), 404, "not-found")
    check_problem(client.get("/categories/nut/coreset"), 404, "not-found")
    check_problem(client.delete("/categories/nut/coreset"), 404, "not-found")


def test_a_damaged_coreset_is_made_anew_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_service(data) as client:
        teach(client, "disc", *map(varied, range(8)), rate=0.2)
        condense(client, share=0.5)
    [file] = (data / "coresets").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x01")
    with running_service(data) as client:
        wait_until_in_use(client)
        made = {path.name for path in (data / "coresets").iterdir()} - {file.name}
        assert len(made) == 1


def test_verdicts_use_the_calibration_of_what_is_searched(tmp_path: Path) -> None:
    """From the switch on, before any calibration is renewed, and after a covered reference was removed."""
    running = AppState.start(settings(tmp_path, refresh_interval_ms=3_600_000))
    with TestClient(create_app(running), base_url="http://localhost") as client:
        ids = onboard(client, "disc", *map(varied, range(12)))
        running.calibrations.round(threading.Event())
        whole = running.calibrations.of("disc")
        client.put("/categories/disc/coreset", json={"share": 0.3}).raise_for_status()
        running.background.condensing.soon().result(PATIENCE)
        foreseen = running.calibrations.of("disc")
        assert whole is not None
        assert foreseen is not None
        assert threshold(foreseen) > threshold(whole)
        memory, scoring = running.reference_store.memory, running.category_settings["disc"].scoring
        assert not running.calibrations.is_current(memory, "disc", scoring)
        running.calibrations.round(threading.Event())
        assert running.calibrations.is_current(memory, "disc", scoring)
        renewed = running.calibrations.of("disc")
        assert renewed is not None
        assert (renewed.key, threshold(renewed)) == (foreseen.key, threshold(foreseen))
        running.reference_store.remove([ids[0]])
        after = running.calibrations.of("disc")
        assert after is not None
        assert after.key == whole.key


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_process_searches_it_and_a_restart_makes_what_was_asked_for(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    data = tmp_path / "data"
    database = ""
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").new_database(migrated=True)
    with ServerProcess(data, DATABASE_URL=database) as one, ServerProcess(data, DATABASE_URL=database) as two:
        for server in (one, two):
            server.wait_until_live()
        one.teach("disc", *map(varied, range(REFERENCES)))
        one.client.patch("/categories/disc", json={"false_reject_rate": RATE}).raise_for_status()
        for server in (one, two):
            server.wait_until_calibrated("disc")
        views = condense(one.client, share=0.5), wait_until_in_use(two.client)
        assert views[0]["radii"] == views[1]["radii"]
        for server in (one, two):
            server.wait_until_calibrated("disc")
        assert verdicts(one.client) == verdicts(two.client)
        for server in (one, two):
            assert failures(server.client) == 0
        one.client.put("/categories/disc/coreset", json={"share": 0.25}).raise_for_status()
        one.kill()
        two.kill()
    with ServerProcess(data, DATABASE_URL=database).wait_until_live() as again:
        eventually(lambda: (coreset(again.client) or {})["patches"] == 4, "the restart made none", 60)
        assert wait_until_in_use(again.client)["target"] == {"share": 0.25, "bound": None}
        assert again.stop() == 0


def threshold(calibration: Calibration) -> float:
    value = calibration.scores.threshold_at(0.2)
    assert value is not None
    return value


def failures(client: httpx.Client) -> float:
    return value(scrape(client), "background_failures_total", task="condensing")


def test_a_coreset_made_by_a_bound_keeps_it(condensable: TestClient) -> None:
    half = condense(condensable, share=0.5)
    wide = max(half["radii"].values()) * 1.5
    view = condense(condensable, bound=wide)
    assert view["patches"] <= half["patches"]
    assert max(view["radii"].values()) <= wide + 1e-3
    view = condense(condensable, bound=1.9)
    assert view["patches"] == 1
