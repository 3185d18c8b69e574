"""`recorded` in a response is true exactly when the inspection is stored, whatever happens to the database."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from service.app import create_app
from service.state import AppState
from tests.helpers.database_proxy import DatabaseProxy
from tests.helpers.http_service import files, onboard, settings, wait_until_calibrated
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually

INSPECTION = b"INSERT INTO inspection"
REFERENCE = b"INSERT INTO reference"


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[DatabaseProxy]:
    """A proxy before an empty database."""
    url = postgres.new_database(migrated=True)
    with DatabaseProxy(url) as through:
        yield through
    postgres.drop(url)


@pytest.fixture
def server(tmp_path: Path, proxy: DatabaseProxy) -> Iterator[ServerProcess]:
    """A service behind which the proxy lies, with two references; what nothing names is deleted at once."""
    with ServerProcess(
        tmp_path / "data", DATABASE_URL=proxy.url, PRUNE_INTERVAL_SECONDS="0.1"
    ).wait_until_live() as running:
        running.teach("disc", part(1), part(2))
        yield running


def detect(client: httpx.Client | TestClient, seed: int, **headers: str) -> dict[str, Any]:
    response = client.post(
        "/detect", files=files(part(seed)), headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["results"][0]
    return result


def is_kept(client: httpx.Client | TestClient, inspection_id: str) -> bool:
    """Whether an inspection is in the history, with everything that belongs to it; AssertionError for half of it."""
    statuses = {
        client.get(f"/inspections/{inspection_id}{resource}").status_code
        for resource in ("", "/map.png", "/image", "/image?side=64", "/heat.png")
    }
    assert len(statuses) == 1, statuses
    return statuses == {200}


def history(data: Path) -> set[str]:
    """The files of maps and thumbnails."""
    return {path.name for path in (data / "inspections").iterdir()}


def originals(data: Path) -> int:
    return sum(path.is_file() for path in (data / "originals").rglob("*"))


def wait_for_files(data: Path, count: int) -> None:
    end = time.monotonic() + 30
    while len(history(data)) != count:
        assert time.monotonic() < end, history(data)
        time.sleep(0.05)


def test_a_commit_whose_answer_is_lost_is_found_out(server: ServerProcess, proxy: DatabaseProxy) -> None:
    proxy.cut_commit(INSPECTION, "after")
    result = detect(server.client, 3)
    assert proxy.cuts == 1
    assert result["recorded"] is True
    assert is_kept(server.client, result["id"])
    time.sleep(1.5)  # the pruner has been by
    assert is_kept(server.client, result["id"])
    assert len(server.client.get("/inspections").json()["inspections"]) == 1


def test_a_commit_that_never_arrived_is_not_recorded_and_leaves_no_files(
    server: ServerProcess, proxy: DatabaseProxy
) -> None:
    proxy.cut_commit(INSPECTION, "before")
    result = detect(server.client, 3)
    assert proxy.cuts == 1
    assert (result["recorded"], result["image_availability"]) == (False, "none")
    assert not is_kept(server.client, result["id"])
    wait_for_files(server.data, 0)
    # Those of the references stay; its own may wait for the next round, if this one had passed the folder already.
    eventually(lambda: originals(server.data) == 2, "its image was not deleted")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_recorded_is_null_while_the_outcome_is_unknown(
    server: ServerProcess, proxy: DatabaseProxy, moment: Any
) -> None:
    proxy.cut_commit(INSPECTION, moment, and_stay_away=True)
    result = detect(server.client, 3)
    assert result["recorded"] is None
    proxy.come_back()
    assert is_kept(server.client, result["id"]) == (moment == "after")
    wait_for_files(server.data, 2 if moment == "after" else 0)
    assert is_kept(server.client, result["id"]) == (moment == "after")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_references_with_a_cut_commit_exist_exactly_if_the_response_says_so(
    server: ServerProcess, proxy: DatabaseProxy, moment: Any
) -> None:
    proxy.cut_commit(REFERENCE, moment)
    sent = files(part(1), part(5), part(6), part(5))
    response = server.client.post("/references", data={"category": "disc"}, files=sent)
    assert proxy.cuts == 1
    if moment == "after":
        assert response.status_code == 200, response.text
        assert [result["status"] for result in response.json()["results"]] == [
            "duplicate",
            "added",
            "added",
            "duplicate",
        ]
        assert set(server.references()) >= {result["reference_id"] for result in response.json()["results"]}
        assert server.score(part(5)) == pytest.approx(0, abs=1e-3)
    else:
        assert response.status_code == 503
    assert len(server.references()) == (4 if moment == "after" else 2)
    repeated = server.client.post("/references", data={"category": "disc"}, files=sent).json()
    assert repeated["duplicates"] == (4 if moment == "after" else 2)
    assert len(server.references()) == 4


def test_a_failed_duplicate_request_leaves_the_recorded_one_intact(server: ServerProcess, proxy: DatabaseProxy) -> None:
    for turn in range(4):
        proxy.cut_commit(b"pg_advisory_xact_lock", "before")  # of whichever is at it, first or second
        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(lambda _: detect(server.client, 3, Idempotency_Key=f"part {turn}"), range(6)))  # noqa: B023
        assert {result["id"] for result in results} == {results[0]["id"]}
        assert any(result["recorded"] for result in results)
        assert is_kept(server.client, results[0]["id"])
    assert proxy.cuts == 4
    wait_for_files(server.data, 2 * 4)
    assert all(
        is_kept(server.client, inspection["id"])
        for inspection in server.client.get("/inspections").json()["inspections"]
    )


def test_duplicates_at_once_are_one_inspection_with_one_answer(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", PRUNE_INTERVAL_SECONDS="0.1").wait_until_live() as server:
        server.teach("disc", part(1), part(2))
        for turn in range(5):
            with ThreadPoolExecutor(8) as pool:
                responses = pool.map(lambda _: detect(server.client, 3, Idempotency_Key=f"part {turn}"), range(8))  # noqa: B023
                results = [{**response, "map": None, "overlay": None} for response in responses]
            assert all(result == results[0] for result in results)
            assert results[0]["recorded"] is True
        assert len(server.client.get("/inspections").json()["inspections"]) == 5
        wait_for_files(server.data, 2 * 5)
        assert all(
            is_kept(server.client, inspection["id"])
            for inspection in server.client.get("/inspections").json()["inspections"]
        )


class _Failing(sqlite3.Connection):
    """A connection to SQLite whose disk fails while the second inspection is committed: before that is in the log, or
    after.
    """

    moment: str | None = None

    def commit(self) -> None:
        if _Failing.moment is None or self.execute("SELECT count(*) FROM inspection").fetchone() != (2,):
            super().commit()
            return
        if _Failing.moment == "after":
            super().commit()
        _Failing.moment = None
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[TestClient]:
    """A service whose SQLite fails once when it is told to."""

    def connecting(_dialect: object, _record: object, _args: object, options: dict[str, object]) -> None:
        options["factory"] = _Failing

    event.listen(Engine, "do_connect", connecting)
    try:
        with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as client:
            onboard(client, "disc", part(1), part(2))
            yield client
    finally:
        _Failing.moment = None
        event.remove(Engine, "do_connect", connecting)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_disk_that_fails_in_a_commit_of_sqlite_does_not_make_an_answer_untrue(
    failing: TestClient, moment: str, tmp_path: Path
) -> None:
    runtime: AppState = failing.app.state.app_state  # type: ignore[attr-defined]
    before = detect(failing, 3)
    assert before["recorded"] is True
    _Failing.moment = moment
    result = detect(failing, 4)
    assert _Failing.moment is None
    assert result["recorded"] is (moment == "after")
    assert is_kept(failing, result["id"]) == (moment == "after")
    for _ in runtime.pruner.delete_abandoned():
        pass
    assert len(history(tmp_path)) == (4 if moment == "after" else 2)
    assert is_kept(failing, before["id"])
    assert is_kept(failing, result["id"]) == (moment == "after")


def test_a_trial_is_not_counted_in_history_yield_drift_and_verdicts(tmp_path: Path) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as client:
        onboard(client, "disc", *(part(seed) for seed in range(1, 25)))
        client.patch("/categories/disc", json={"false_reject_rate": 0.05}).raise_for_status()
        wait_until_calibrated(client, "disc")
        detect(client, 30)
        files_before, counted = history(tmp_path), counts(client)
        category = client.get("/categories/disc").json()
        tried = client.post(
            "/detect",
            data={"record": "false", "map": "png"},
            files=files(part(31, scratched=True)),
            headers={"Idempotency-Key": "part 31"},
        ).json()["results"][0]
        assert (tried["recorded"], tried["verdict"]) == (False, "anomalous")
        assert tried["map"] is not None
        assert not is_kept(client, tried["id"])
        assert history(tmp_path) == files_before
        assert client.get("/categories/disc").json()["drift"] == category["drift"]
        assert counts(client) == counted


def counts(client: TestClient) -> list[str]:
    """The counters of verdicts and of what was not recorded."""
    return [line for line in client.get("/metrics").text.splitlines() if re.match(r"touchstone_(inspect|unrec)", line)]
