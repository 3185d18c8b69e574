"""Stations over HTTP: reported with a line's key, read with an operator's, and bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.auth import Role
from tests.helpers.http_service import check_problem
from tests.helpers.plant import Plant

COMPONENT: dict[str, Any] = {
    "role": "gate",
    "name": "modbus:192.0.2.20:502/0",
    "error": "no connection",
    "last_error": "no connection",
    "last_error_at": "2026-05-06T12:00:00Z",
    "count": 3,
    "last_at": None,
}
PART: dict[str, Any] = {
    "part_id": "P1",
    "captured_at": "2026-05-06T12:00:00+02:00",
    "decision": "missed",
    "verdict": None,
    "inspection_id": None,
}
REPORT: dict[str, Any] = {
    "started_at": "2026-05-06T11:00:00Z",
    "parts": 1,
    "last_part": PART,
    "components": [COMPONENT],
}


def test_a_line_reports_and_an_operator_reads(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    with plant.client as client:
        line, operator = plant.bearer(Role.LINE), plant.bearer(Role.OPERATOR)
        for parts in (1, 2):
            answer = client.put("/stations/press%204", json={**REPORT, "parts": parts}, headers=line)
            assert answer.status_code == 200, answer.text
        check_problem(client.get("/stations", headers=line), 403, "forbidden")
        [station] = client.get("/stations", headers=operator).json()["stations"]
        assert station == answer.json()
        assert (station["name"], station["parts"], station["silent"]) == ("press 4", 2, False)
        assert station["components"] == [COMPONENT]
        assert station["last_part"]["captured_at"] == "2026-05-06T12:00:00+02:00"
        actions = client.get("/audit", headers=plant.bearer(Role.ADMIN)).json()["entries"]
        assert not [entry for entry in actions if entry["target"] == "press 4"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"parts": -1},
        {"parts": "1"},
        {"started_at": "2026-05-06T11:00:00"},
        {"secret": 1},
        {"components": [COMPONENT] * 65},
        {"components": [{**COMPONENT, "error": "x" * 501}]},
        {"components": [{**COMPONENT, "error": "two\nlines"}]},
        {"components": [{**COMPONENT, "role": "camera"}]},
        {"components": [{**COMPONENT, "more": 1}]},
        {"components": [{**COMPONENT, "last_at": 0}]},
        {"components": [{**COMPONENT, "last_at": "0"}]},
        {"last_part": {**PART, "decision": "perhaps"}},
    ],
)
def test_a_report_that_is_no_report_is_refused_and_nothing_is_kept(taught: TestClient, wrong: dict[str, Any]) -> None:
    check_problem(taught.put("/stations/press", json={**REPORT, **wrong}), 422, "invalid-request")
    assert taught.get("/stations").json() == {"stations": []}


def test_a_station_too_many_is_refused(taught: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.catalogue.stations.MAX_STATIONS", 0)
    check_problem(taught.put("/stations/press", json=REPORT), 409, "conflict")
