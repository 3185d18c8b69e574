"""`touchstone rebuild` under a running service: it loads the new memory if it can, and reports otherwise."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.helpers.commands import touchstone
from tests.helpers.http_service import check_problem, files
from tests.helpers.part_images import part
from tests.helpers.server_process import START_SECONDS, ServerProcess
from tests.helpers.waiting import eventually


def test_a_running_service_loads_another_codec(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data).wait_until_live() as server:
        server.teach("disc", *(part(seed) for seed in range(8)))
        server.wait_until_calibrated("disc")
        before = server.score(part(500, scratched=True))
        key = server.client.get("/inspections").json()["inspections"][0]
        done = touchstone("rebuild", "--codec", "int8", data=data)
        assert done.exit_code == 0, done.stderr
        assert "running services load it" in done.stdout
        while server.client.get("/version").json()["codec"] != "int8":
            response = server.client.post("/detect", files=files(part(500, scratched=True)))
            assert response.status_code == 200, response.text
            time.sleep(0.05)
        assert server.score(part(500, scratched=True)) == pytest.approx(before, abs=0.01)
        assert server.client.get("/readyz").status_code == 200
        server.wait_until_calibrated("disc")
        result = server.client.post("/detect", files=files(part(501))).json()["results"][0]
        assert result["threshold"] != key["threshold"], "the threshold is still that of the old codes"
        server.teach("disc", part(100))
        references = server.references()
        assert len(references) == 9
        server.kill()
    with ServerProcess(data).wait_until_live() as server:  # with the settings it had
        assert server.client.get("/version").json()["codec"] == "int8"
        assert server.references() == references
        assert server.client.get("/readyz").status_code == 200


def test_after_a_switch_to_another_encoder_detection_goes_on_and_what_cannot_be_done_says_how(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data).wait_until_live() as server:
        server.teach("disc", *(part(seed) for seed in range(4)))
        gone, *stored = server.references()
        seen = server.client.post("/detect", files=files(part(500, scratched=True))).json()
        inspection, version = seen["results"][0]["id"], seen["version"]
        assert touchstone("rebuild", data=data, CROP="96").exit_code == 0
        eventually(lambda: server.client.get("/readyz").status_code == 503, "/readyz says nothing")
        ready = check_problem(server.client.get("/readyz"), 503, "not-ready")
        assert "128 × 128 → 96 × 96 pixels" in str(ready["detail"])
        assert "restart" in str(ready["detail"])
        refused = [
            server.client.post("/references", data={"category": "disc"}, files=files(part(9))),
            server.client.post(f"/inspections/{inspection}/feedback", json={"label": "good"}),
            server.client.post("/detect", data={"min_version": str(version + 1)}, files=files(part(1))),
        ]
        for response in refused:
            check_problem(response, 503, "memory-switched")
            assert int(response.headers["retry-after"]) >= 1
        assert server.client.delete(f"/references/{gone}").status_code == 200
        check_problem(server.client.post(f"/references/{gone}/restore"), 503, "memory-switched")
        changed = server.client.patch("/categories/disc", json={"threshold": 0.5})
        assert (changed.status_code, changed.json()["settings"]["threshold"]) == (200, 0.5)
        after = server.client.post("/detect", data={"min_version": str(version)}, files=files(part(0))).json()
        assert after["results"][0]["threshold"] == 0.5
        assert after["results"][0]["score"] > 1e-3, "the removed reference is still compared with"
        assert server.client.get("/readyz").status_code == 503
        time.sleep(3)
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    switched = [line for line in lines if "switched to encoder" in line["message"]]
    assert len(switched) == 1, "once, however often it looks"
    assert not [line for line in lines if "exception" in line]
    with ServerProcess(data, CROP="96").wait_until_live() as server:
        assert sorted(server.references()) == stored
        end = time.monotonic() + START_SECONDS
        while server.client.get("/readyz").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
