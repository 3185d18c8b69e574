"""Background tasks: independent of each other; failures are retried and reported."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.errors import CatalogueUnavailable
from indexer.history.pruner import Pruner
from indexer.memory import MemoryBank
from indexer.references.reference_store import ReferenceStore
from service.app import create_app
from service.auth import Role, generate_api_key
from service.background import Supervisor, Task
from service.inference.worker import WorkerStoppedError
from service.observability.metrics import Metrics
from service.state import AppState
from tests.helpers.http_service import files, onboard, settings, wait_until_calibrated
from tests.helpers.metrics import scrape, value
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import PATIENCE, eventually


class Rounds:
    """Counts the rounds of a task, and raises what it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, stopping: threading.Event) -> None:
        self.gate.wait()
        self.count += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(9)


def counted(metrics: Metrics, task: str) -> float:
    return metrics.registry.get_sample_value("touchstone_background_failures_total", {"task": task}) or 0.0


@pytest.fixture
def run(metrics: Metrics) -> Iterator[Callable[..., Task]]:
    """Starts a task, and stops all at the end."""
    started: list[tuple[Supervisor, Rounds]] = []

    def start(name: str, rounds: Rounds, **more: float) -> Task:
        task = Task(name, rounds, metrics, **{"seconds": 0.01, "max_seconds": 0.04, "min_seconds": 0.0, **more})
        supervisor = Supervisor([task])
        started.append((supervisor, rounds))
        supervisor.start()
        return task

    yield start
    for supervisor, rounds in started:
        supervisor.stop()
        rounds.gate.set()
        supervisor.join(PATIENCE)
        assert [state.state for state in supervisor.states()] == ["ended"]


def test_a_task_that_raises_is_logged_once_counted_named_and_tried_again(
    run: Callable[..., Task], metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    rounds, other = Rounds(), Rounds()
    rounds.error = TypeError("nobody expected this")
    with caplog.at_level(logging.INFO, "touchstone"):
        task, _ = run("pruning", rounds), run("other", other)
        eventually(lambda: rounds.count > 5, "it is not tried again")
        state = task.state
        assert (state.state, state.error) == ("failing", "TypeError")
        assert state.failures >= 5
        assert counted(metrics, "pruning") >= 5
        before = other.count
        eventually(lambda: other.count > before + 5, "another task waits for it")
        rounds.error = None
        eventually(lambda: task.state.state == "working", "it does not recover")
    [failed] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert failed.exc_info is not None
    assert "pruning failed and is retried: nobody expected this" in failed.message
    assert [record.message for record in caplog.records if "works again" in record.message]
    assert counted(metrics, "other") == 0


def test_an_outage_is_one_line_without_a_trace(run: Callable[..., Task], caplog: pytest.LogCaptureFixture) -> None:
    rounds = Rounds()
    rounds.error = CatalogueUnavailable("the database does not answer")
    with caplog.at_level(logging.ERROR, "touchstone"):
        run("key-sync", rounds)
        eventually(lambda: rounds.count > 5, "it is not tried again")
    [failed] = caplog.records
    assert failed.exc_info is None


def test_concurrent_requests_for_a_round_share_the_next_one(run: Callable[..., Task]) -> None:
    rounds = Rounds()
    task = run("sync", rounds, seconds=PATIENCE * 10, max_seconds=PATIENCE * 10)
    eventually(lambda: rounds.count == 1, "the first round comes at once")
    rounds.gate.clear()
    first = task.soon()
    eventually(lambda: task._waiting == [], "the asked round has begun")
    requested: list[Future[None]] = [task.soon() for _ in range(50)]
    rounds.gate.set()
    for future in (first, *requested):
        assert future.result(PATIENCE) is None
    assert rounds.count == 3, "one that had begun, and one for all who asked during it"
    rounds.error = OSError("away")
    with pytest.raises(OSError, match="away"):
        task.soon().result(PATIENCE)
    task.stop()
    with pytest.raises(WorkerStoppedError):
        task.soon().result(PATIENCE)


def test_a_round_that_hangs_is_seen(run: Callable[..., Task]) -> None:
    rounds = Rounds()
    rounds.gate.clear()
    task = run("key-sync", rounds, stalls_after=0.05)
    eventually(lambda: task.state.state == "stalled", "it is not seen")
    rounds.gate.set()
    eventually(lambda: task.state.state == "working", "it is not over")


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[tuple[TestClient, Catalogue]]:
    """A service that asks for keys and looks for changes once an hour, and its catalogue."""
    running = AppState.start(settings(tmp_path, access="keys", refresh_interval_ms=3_600_000))
    with TestClient(create_app(running), base_url="http://localhost") as client:
        yield client, running.reference_store.catalogue


def bearer(catalogue: Catalogue, role: Role) -> dict[str, str]:
    made = generate_api_key(role.word, role)
    catalogue.api_keys.create(made.key)
    return {"Authorization": f"Bearer {made.token}"}


def test_a_revoked_key_is_refused_while_everything_else_hangs(
    keyed: tuple[TestClient, Catalogue],
) -> None:
    client, catalogue = keyed
    line = bearer(catalogue, Role.LINE)
    assert client.get("/access", headers=line).status_code == 200
    running: AppState = client.app.state.app_state  # type: ignore[attr-defined]
    release, blocked = threading.Event(), threading.Event()

    def block(_: MemoryBank) -> None:
        blocked.set()
        release.wait(3 * PATIENCE)

    hanging: list[asyncio.Future[bool]] = []

    async def hang() -> None:
        for _ in range(200):  # more than the loop's pool has threads
            hanging.append(asyncio.get_running_loop().run_in_executor(None, release.wait, 3 * PATIENCE))

    running.worker.submit_calibration(block)
    assert blocked.wait(PATIENCE)
    assert client.portal is not None
    client.portal.call(hang)
    try:
        [key] = [api_key for api_key in catalogue.api_keys.list() if api_key.revoked_at is None]
        catalogue.api_keys.revoke(key.id)  # as another replica, or a command, does
        eventually(lambda: client.get("/access", headers=line).status_code == 401, "the key lives on")
        assert not any(call.done() for call in hanging), "it is refused while all others wait"
        # And a key that was made elsewhere opens at once.
        engineer = bearer(catalogue, Role.ENGINEER)
        assert client.get("/access", headers=engineer).status_code == 200
    finally:
        release.set()


def test_an_idle_service_refuses_a_revoked_key_within_a_second(keyed: tuple[TestClient, Catalogue]) -> None:
    client, catalogue = keyed
    waits = []
    for _ in range(5):
        # Revoked just after the one before was noticed, so that it waits for a whole pause between two looks.
        line = bearer(catalogue, Role.LINE)
        assert client.get("/access", headers=line).status_code == 200
        [key] = [key for key in catalogue.api_keys.list() if key.revoked_at is None]
        catalogue.api_keys.revoke(key.id)
        revoked = time.monotonic()
        eventually(lambda line=line: client.get("/access", headers=line).status_code == 401, "the key lives on")
        waits.append(time.monotonic() - revoked)
    assert min(waits) < 1, "every one took longer, so it is not the machine that was busy"


def test_a_revoked_key_is_refused_while_its_replica_calibrates_and_detects(tmp_path: Path, database: str) -> None:
    shared = {"DATABASE_URL": database, "ACCESS": "keys"}
    catalogue = Catalogue.open(database)
    engineer, line, doomed = (bearer(catalogue, role) for role in (Role.ENGINEER, Role.LINE, Role.LINE))
    stop = threading.Event()
    with ServerProcess(tmp_path / "data", **shared).wait_until_live() as server:
        for start in range(0, 180, 60):
            body = [("images", (f"{seed}.png", part(seed), "image/png")) for seed in range(start, start + 60)]
            added = server.client.post("/references", data={"category": "disc"}, files=body, headers=engineer)
            assert added.status_code == 200, added.text

        def inspect() -> None:
            while not stop.is_set():
                server.client.post("/detect", files=files(part(999)), headers=line)

        load = [threading.Thread(target=inspect) for _ in range(3)]
        for thread in load:
            thread.start()
        try:
            assert server.client.get("/access", headers=doomed).status_code == 200
            [key] = [api_key for api_key in catalogue.api_keys.list() if api_key.id in doomed["Authorization"]]
            catalogue.api_keys.revoke(key.id)
            eventually(lambda: server.client.get("/access", headers=doomed).status_code == 401, "the key lives on")
            state = server.client.get("/categories/disc", headers=engineer).json()["calibration"]["state"]
            assert state == "pending", "the calibration was over before the key was: this means nothing"
        finally:
            stop.set()
            for thread in load:
                thread.join()
    catalogue.close()


def test_a_task_that_fails_is_named_in_readyz_and_metrics_while_the_service_goes_on(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    onboard(client, "disc", part(1), part(2))
    assert client.get("/readyz").json()["failing"] == []

    def broken(_: Pruner) -> None:
        raise TypeError("/srv/secret is not a number")

    with monkeypatch.context() as patched:
        patched.setattr(Pruner, "free_disk_space", broken)
        eventually(lambda: client.get("/readyz").json()["failing"], "/readyz says nothing")
        ready = client.get("/readyz")
        assert ready.status_code == 200
        [task] = ready.json()["failing"]
        assert (task["name"], task["state"], task["error"]) == ("pruning", "failing", "TypeError")
        assert "secret" not in ready.text
        series = scrape(client)
        assert value(series, "background_failures_total", task="pruning") >= 1
        assert value(series, "background_failing", task="pruning") == 1
        assert value(series, "background_failing", task="key-sync") == 0
        assert client.post("/detect", files=files(part(3))).status_code == 200
        wait_until_calibrated(client, "disc")
    eventually(lambda: client.get("/readyz").json()["failing"] == [], "it is not tried again")


def test_a_category_that_cannot_be_calibrated_does_not_block_the_others(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.background import calibration_manager

    read_kept = calibration_manager.read_stored

    def reading(reference_store: ReferenceStore, category: str) -> object:
        if category == "bad":
            raise ValueError("a category that nobody can calibrate")
        return read_kept(reference_store, category)

    monkeypatch.setattr(calibration_manager, "read_stored", reading)
    onboard(client, "bad", part(1), part(2))
    onboard(client, "disc", part(3), part(4))
    wait_until_calibrated(client, "disc")
    eventually(lambda: client.get("/readyz").json()["failing"], "it is not named")
    assert [task["name"] for task in client.get("/readyz").json()["failing"]] == ["calibration"]


def test_an_outage_of_the_database_is_named_while_detection_goes_on(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.new_database(migrated=True)
    with ServerProcess(tmp_path / "data", DATABASE_URL=url).wait_until_live() as server:
        server.teach("disc", part(1), part(2))
        assert server.client.get("/readyz").json()["failing"] == []
        postgres.stop()
        try:

            def named() -> set[str]:
                ready = server.client.get("/readyz")
                assert ready.status_code == 200, ready.text
                return {task["name"] for task in ready.json()["failing"]}

            eventually(lambda: named() >= {"catalogue-sync", "key-sync"}, "/readyz does not name them")
            assert "Unavailable" in server.client.get("/readyz").text
            time.sleep(2)
            assert server.client.post("/detect", files=files(part(3))).status_code == 200
        finally:
            postgres.start()
        eventually(lambda: server.client.get("/readyz").json()["failing"] == [], "they do not recover")
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    failures = [line["message"] for line in lines if "failed and is retried" in line["message"]]
    assert 2 <= len(failures) <= 10, failures
    assert not [line for line in lines if "exception" in line and "failed and is retried" in line["message"]]
