"""Several server processes on one database and data folder: every commit reaches all."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.catalogue.categories import Categories
from indexer.catalogue.segments import Segments
from indexer.domain.snapshot import SnapshotDelta
from tests.helpers.http_service import check_problem, files, onboard
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess


def test_every_replica_serves_what_one_has_committed(tmp_path: Path, database: str) -> None:
    data, shared = tmp_path / "data", {"DATABASE_URL": database}
    with ServerProcess(data, **shared) as one, ServerProcess(data, **shared) as two:
        for server in (one, two):
            server.wait_until_live()
        added = one.client.post("/references", data={"category": "disc"}, files=files(part(1), part(2))).json()
        written = {"min_version": str(added["version"])}
        seen = two.client.post("/detect", data=written, files=files(part(1)))
        assert seen.status_code == 200, seen.text
        result = seen.json()["results"][0]
        assert result["version"] >= added["version"]
        assert result["score"] == pytest.approx(0, abs=1e-3)
        gone = two.client.delete(f"/references/{added['results'][0]['reference_id']}").json()
        written = {"min_version": str(gone["version"])}
        after = one.client.post("/detect", data=written, files=files(part(1))).json()["results"][0]
        assert after["version"] >= gone["version"]
        assert after["score"] > 1e-3
        # Without asking for it, the other replica follows by itself.
        more = one.client.post("/references", data={"category": "disc"}, files=files(part(3))).json()
        wait = time.monotonic() + 30
        while two.client.get("/version").json()["version"] < more["version"]:
            assert time.monotonic() < wait
            time.sleep(0.05)
        assert int(two.client.get("/healthz").headers["x-index-version"]) >= more["version"]
        far = two.client.post("/detect", data={"min_version": "1000000"}, files=files(part(1)))
        check_problem(far, 503, "version-behind")
        assert far.headers["retry-after"] == "1"
        one.stop()
        two.stop()


def test_a_nearly_full_disk_stops_recording_but_not_detection_and_onboarding(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", MIN_FREE_BYTES=str(1 << 60)).wait_until_live() as server:
        added = server.client.post("/references", data={"category": "disc"}, files=files(part(1), part(2)))
        assert added.status_code == 200
        result = server.client.post("/detect", files=files(part(3))).json()["results"][0]
        assert result["recorded"] is False
        assert server.client.get("/inspections").json()["inspections"] == []
        assert server.client.get("/version").json()["recording_enabled"] is False
        ready = server.client.get("/readyz")
        assert (ready.status_code, ready.json()["recording_enabled"]) == (200, False)


def test_requests_waiting_for_a_snapshot_share_one_catalogue_poll(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    onboard(client, "disc", part(1), part(2))
    qualities: list[float] = []
    changes_since = Segments.changes_since

    def counting(segments: Segments, *arguments: Any) -> SnapshotDelta:
        qualities.append(time.monotonic())
        return changes_since(segments, *arguments)

    monkeypatch.setattr(Segments, "changes_since", counting)
    codes: list[int] = []

    def detect() -> None:
        body = {"min_version": "1000000"}
        codes.append(client.post("/detect", data=body, files=files(part(3))).status_code)

    waiting = [threading.Thread(target=detect) for _ in range(20)]
    begun = time.monotonic()
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    took = time.monotonic() - begun
    assert codes == [503] * 20
    regular = took / 0.5
    assert len(qualities) <= regular + 10, "fewer than one for each, besides those that are taken anyway"


def test_a_detection_asks_no_database_for_settings_or_references(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    onboard(client, "disc", part(1), part(2))
    client.patch("/categories/disc", json={"threshold": 0.25})
    requested: list[str] = []

    def refuse(*_: object) -> None:
        requested.append("categories")
        raise AssertionError("a detection counts every category's references")

    for method in ("list", "get"):
        monkeypatch.setattr(Categories, method, refuse)
    response = client.post("/detect", files=files(part(3)))
    assert response.status_code == 200, response.text
    assert response.json()["results"][0]["threshold"] == 0.25
    assert requested == []
