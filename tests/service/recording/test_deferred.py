"""A request that does not wait for recording is answered before it, and nothing that was answered is forgotten."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import RequestKeyReused
from service.observability.metrics import Metrics
from service.recording import deferred
from service.recording.deferred import MAX_DEFERRED, DeferredRecordings
from tests.helpers.http_service import Web, files, onboard, running_service
from tests.helpers.metrics import scrape, value
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually


@contextmanager
def writing(data: Path) -> Iterator[None]:
    """Another writer has the database for as long as the block lasts; to be over before requests lose patience."""
    other = sqlite3.connect(data / "catalogue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def inspect(client: Web, seed: int, wait: bool, key: str | None = None) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    fields = {"wait_for_recording": "true" if wait else "false"}
    response = client.post("/detect", data=fields, files=files(part(seed)), headers=headers)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["results"][0]
    return result


def kept(client: Web, inspection_id: str) -> set[int]:
    parts = ("", "/map.png", "/image", "/image?side=64")
    return {client.get(f"/inspections/{inspection_id}{path}").status_code for path in parts}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data").wait_until_live() as running:
        running.teach("disc", part(1), part(2))
        yield running


def test_the_answer_comes_first_and_the_record_follows(server: ServerProcess) -> None:
    with writing(server.data):
        result = inspect(server.client, 3, wait=False)
        assert (result["recorded"], result["image_availability"]) == (None, "none")
        assert kept(server.client, result["id"]) == {404}
        waiting = threading.Thread(target=inspect, args=(server.client, 4, True))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive(), "who waits is not answered"
    waiting.join()
    eventually(lambda: kept(server.client, result["id"]) == {200}, "the record")


def test_a_request_may_be_repeated_to_wait_for_its_record(server: ServerProcess) -> None:
    first = inspect(server.client, 5, wait=False, key="part-5")
    repeated = inspect(server.client, 5, wait=True, key="part-5")
    assert (repeated["id"], repeated["recorded"]) == (first["id"], True)
    assert kept(server.client, first["id"]) == {200}


def test_what_was_answered_is_recorded_before_the_service_stops(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data").wait_until_live() as server:
        server.teach("disc", part(1), part(2))
        with writing(server.data):
            result = inspect(server.client, 3, wait=False)
            stopped = threading.Thread(target=server.stop)
            stopped.start()
            time.sleep(0.5)
            assert server.process.poll() is None, "it has something to record"
        stopped.join()
        assert server.process.poll() == 0
    catalogue = Catalogue.open(DataFolder.existing(tmp_path / "data", None).database)
    assert catalogue.inspections.get(result["id"]).id == result["id"]
    catalogue.close()


def test_what_could_not_be_recorded_is_counted(tmp_path: Path) -> None:
    with running_service(tmp_path, min_free_bytes=1 << 60) as client:
        onboard(client, "disc", part(1), part(2))
        assert inspect(client, 3, wait=False)["recorded"] is None
        counted = scrape(client)
        assert value(counted, "unrecorded_inspections_total") == 1
        assert value(counted, "verdicts_total", category="disc", verdict="uncalibrated") == 1


def test_a_request_waits_when_too_many_records_are_outstanding(
    taught: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inspect(taught, 6, wait=False)["recorded"] is None
    monkeypatch.setattr(deferred, "MAX_DEFERRED", 0)
    assert inspect(taught, 6, wait=False)["recorded"] is True


def test_records_are_deferred_up_to_a_limit_and_failures_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(8)
    recordings = DeferredRecordings(metrics)

    async def fail(error: BaseException) -> None:
        raise error

    async def use() -> None:
        done: list[str] = []

        async def record() -> None:
            done.append("recorded")

        async with AsyncExitStack() as answered:
            assert recordings.defer(MAX_DEFERRED - 1, record, answered)
            assert not recordings.defer(2, record, answered)
            assert not done, "nothing is answered yet"
        assert done == ["recorded"]
        for error in (RequestKeyReused("other content"), ValueError("unexpected")):
            async with AsyncExitStack() as answered:
                assert recordings.defer(MAX_DEFERRED, lambda error=error: fail(error), answered)
        async with AsyncExitStack() as answered:
            assert recordings.defer(MAX_DEFERRED, lambda: asyncio.sleep(60), answered)
            asyncio.get_running_loop().call_later(0.01, asyncio.current_task().cancel)  # type: ignore[union-attr]

    with caplog.at_level(logging.ERROR, "touchstone"), pytest.raises(asyncio.CancelledError):
        asyncio.run(use())
    assert metrics.registry.get_sample_value("touchstone_unrecorded_inspections_total") == 3 * MAX_DEFERRED
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "other content",
        "unexpected",
        "the service stopped first",
    ]
