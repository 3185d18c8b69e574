"""Several server processes on one database and one data folder: what one commits, all serve."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.service.conftest import files
from tests.service.pictures import part
from tests.service.server_process import ServerProcess
from tests.service.test_problems import check_problem


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
        while two.client.get("/version").json()["snapshot"] < more["version"]:
            assert time.monotonic() < wait
            time.sleep(0.05)
        assert int(two.client.get("/healthz").headers["x-snapshot-version"]) >= more["version"]
        far = two.client.post("/detect", data={"min_version": "1000000"}, files=files(part(1)))
        check_problem(far, 503, "snapshot-behind")
        assert far.headers["retry-after"] == "1"
        one.stop()
        two.stop()


def test_a_nearly_full_disk_stops_history_and_says_so_while_detection_and_onboarding_go_on(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", MIN_FREE_BYTES=str(1 << 60)).wait_until_live() as server:
        added = server.client.post("/references", data={"category": "disc"}, files=files(part(1), part(2)))
        assert added.status_code == 200
        result = server.client.post("/detect", files=files(part(3))).json()["results"][0]
        assert result["recorded"] is False
        assert server.client.get("/inspections").json()["inspections"] == []
        assert server.client.get("/version").json()["keeps_history"] is False
        ready = server.client.get("/readyz")
        assert (ready.status_code, ready.json()["keeps_history"]) == (200, False)
