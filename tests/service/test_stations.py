"""Stations over HTTP: reported with a line's key, read with an operator's, and bounded."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexer.catalogue.data_folder import DataFolder
from indexer.jobs.backup import backup
from service.auth import Role
from service.station_frames import FRAMES, WATCHED_FOR_S, StationFrames
from tests.helpers.http_service import check_problem, running_service
from tests.helpers.plant import Plant
from tests.helpers.small_disk import small_disk

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
            response = client.put("/stations/press%204", json={**REPORT, "parts": parts}, headers=line)
            assert response.status_code == 200, response.text
        check_problem(client.get("/stations", headers=line), 403, "forbidden")
        [station] = client.get("/stations", headers=operator).json()["stations"]
        assert station == response.json()
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


def image(width: int = 640, height: int = 480, *, kind: str = "JPEG", value: int = 90) -> bytes:
    """An image of one grey value."""
    file = io.BytesIO()
    Image.fromarray(np.full((height, width), value, np.uint8)).save(file, kind)
    return file.getvalue()


def send(client: TestClient, data: bytes, age_s: str = "0", **more: Any) -> Any:
    """Send a frame of the station `press`."""
    files = {"images": ("frame.jpg", data, "image/jpeg")}
    return client.put("/stations/press/frame", data={"age_s": age_s}, files=files, **more)


def test_a_line_sends_frames_that_an_operator_watches_and_no_others(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    with plant.client as client:
        line, operator = plant.bearer(Role.LINE), plant.bearer(Role.OPERATOR)
        check_problem(client.get("/stations/press/frame", headers=operator), 404, "not-found")
        reported = client.put("/stations/press", json={**REPORT, "sends_frames": True}, headers=line).json()
        assert (reported["sends_frames"], reported["watched"]) == (True, False)
        assert send(client, image(), headers=line).json() == {"watched": False}
        check_problem(client.get("/stations/press/frame", headers=line), 403, "forbidden")
        assert not (tmp_path / FRAMES).exists()
        empty = client.get("/stations/press/frame", headers=operator)
        assert (empty.status_code, empty.content) == (204, b"")
        assert client.put("/stations/press", json=REPORT, headers=line).json()["watched"]
        assert client.get("/stations", headers=operator).json()["stations"][0]["watched"]
        assert send(client, image(value=1), headers=line).json() == {"watched": True}
        assert send(client, image(value=2), "7.5", headers=line).json() == {"watched": True}
        response = client.get("/stations/press/frame", headers=operator)
        assert response.content == image(value=2)
        assert response.headers["content-type"] == "image/jpeg"
        assert response.headers["cache-control"] == "no-store"
        assert 7 <= int(response.headers["age"]) <= 9
        assert len(list((tmp_path / FRAMES).glob("*.jpg"))) == 1  # the last one alone


@pytest.mark.parametrize(
    ("data", "age_s", "status", "problem"),
    [
        (image(641, 10), "0", 413, "image-too-large"),
        (os.urandom((512 << 10) + 1), "0", 413, "image-too-large"),
        (image(kind="PNG"), "0", 415, "unsupported-format"),
        (b"no image", "0", 415, "unsupported-format"),
        (image()[:-400], "0", 422, "image-rejected"),
        (b"", "0", 422, "image-rejected"),
        (image(), "-1", 422, "invalid-request"),
        (image(), "nan", 422, "invalid-request"),
    ],
)
def test_what_is_no_small_jpeg_is_refused_and_replaces_nothing(
    taught: TestClient, data: bytes, age_s: str, status: int, problem: str
) -> None:
    taught.put("/stations/press", json=REPORT).raise_for_status()
    taught.get("/stations/press/frame").raise_for_status()
    send(taught, image()).raise_for_status()
    check_problem(send(taught, data, age_s), status, problem)
    assert taught.get("/stations/press/frame").content == image()


def test_frames_are_deleted_once_nobody_watches(tmp_path: Path) -> None:
    frames, stopping = StationFrames(tmp_path / FRAMES), threading.Event()
    frames.delete_unwatched(stopping)  # before anybody has watched
    for station in ("press", "lab"):
        frames.watch(station)
        assert frames.store(station, b"frame", 0.0)
    [mark] = [path for path in frames_of(tmp_path, "press") if path.suffix == ".watched"]
    then = time.time() - WATCHED_FOR_S
    os.utime(mark, (then, then))
    assert not frames.is_watched("press")
    assert not frames.store("press", b"later", 0.0)
    frames.watch("press")  # the next person sees nothing of what was before
    assert frames.latest("press") is None
    assert frames.store("press", b"new", 0.0)
    os.utime(mark, (then, then))
    frames.delete_unwatched(stopping)
    assert frames.latest("press") is None
    assert not frames_of(tmp_path, "press")
    kept = frames.latest("lab")
    assert kept is not None
    assert kept.data == b"frame"


def frames_of(data: Path, station: str) -> list[Path]:
    """The files of a station."""
    other = StationFrames(data / "other")
    other.watch(station)
    [mark] = (data / "other").iterdir()
    return list((data / FRAMES).glob(f"{mark.stem}.*"))


def test_no_backup_has_a_frame(tmp_path: Path) -> None:
    with running_service(tmp_path / "data") as client:
        client.put("/stations/press", json=REPORT).raise_for_status()
        client.get("/stations/press/frame").raise_for_status()
        send(client, image()).raise_for_status()
        assert list((tmp_path / "data" / FRAMES).glob("*.jpg"))
        backup(DataFolder.existing(tmp_path / "data", None), tmp_path / "backup", lambda *_: None)
    assert not [path for path in (tmp_path / "backup").rglob("*") if path.suffix == ".jpg" or path.name == FRAMES]


def test_frames_are_watched_no_longer_because_a_clock_was_set_back(tmp_path: Path) -> None:
    frames = StationFrames(tmp_path / "frames")
    frames.watch("press")
    assert frames.store("press", image(), 0)
    [mark] = (tmp_path / "frames").glob("*.watched")
    for ahead, watched in ((30, True), (3600, False)):  # as another replica's clock may be, and an hour
        os.utime(mark, (time.time() + ahead, time.time() + ahead))
        frames.delete_unwatched(threading.Event())
        assert frames.is_watched("press") is watched
        assert (frames.latest("press") is not None) is watched
    frames.watch("press")
    assert frames.is_watched("press")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_frame_that_a_full_disk_takes_in_part_leaves_no_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        frames = StationFrames(disk / "frames")
        frames.watch("press")
        assert frames.store("press", bytes(8000), 0)
        for _ in range(20):
            with pytest.raises(OSError, match="No space left"):
                frames.store("press", bytes(80_000), 0)
        assert not list((disk / "frames").glob("*.tmp"))
        assert frames.latest("press") is not None
