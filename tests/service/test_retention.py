"""A real server keeps its history within limits, and prunes images before it stops recording."""

from __future__ import annotations

import csv
import io
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

from indexer.catalogue.data_folder import DataFolder
from indexer.jobs.verify import verify
from service.cli.app import app
from tests.helpers.commands import started
from tests.helpers.http_service import check_problem, files
from tests.helpers.metrics import scrape, value
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from tests.helpers.small_disk import small_disk
from tests.helpers.stored_history import History, inspection

DEFECTS = ("anomalous", "unfamiliar")
OFTEN = {"PRUNE_INTERVAL_SECONDS": "0.2", "REFRESH_INTERVAL_MS": "50"}


def taught(server: ServerProcess) -> ServerProcess:
    """A server that knows 24 discs and calls about every scratched one anomalous."""
    server.wait_until_live()
    body = files(*(part(seed) for seed in range(24)))
    assert server.client.post("/references", data={"category": "disc"}, files=body).status_code == 200
    server.client.patch("/categories/disc", json={"false_reject_rate": 0.05}).raise_for_status()
    wait_for(lambda: server.client.get("/categories/disc").json()["calibration"]["state"] == "ready")
    return server


def inspected(server: ServerProcess, seed: int, *, scratched: bool = False) -> dict[str, Any]:
    """Inspect one part."""
    response = server.client.post("/detect", files=files(part(seed, scratched=scratched)))
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["results"][0]
    return result


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def recorded(server: ServerProcess) -> dict[str, dict[str, Any]]:
    """Every inspection by id."""
    return {
        inspection["id"]: inspection
        for inspection in server.client.get("/inspections?limit=1000").json()["inspections"]
    }


def disc(server: ServerProcess) -> dict[str, Any]:
    """What `/storage` says of the category."""
    [usage] = server.client.get("/storage").json()["categories"]
    assert usage["name"] == "disc"
    return dict(usage)


def test_old_images_are_pruned_while_defects_and_thumbnails_remain_and_feedback_works(
    tmp_path: Path, database: str
) -> None:
    data = tmp_path / "data"
    limits = {"KEEP_IMAGES": "4", "KEEP_INSPECTIONS": "9", "DATABASE_URL": database, **OFTEN}
    with taught(ServerProcess(data, **limits)) as server:
        defects = [inspected(server, seed, scratched=True) for seed in range(500, 503)]
        assert {defect["verdict"] for defect in defects} <= set(DEFECTS)
        said = inspected(server, 100)
        assert said["recorded"]
        assert said["verdict"] == "normal"
        server.client.post(f"/inspections/{said['id']}/feedback", json={"label": "defect"}).raise_for_status()
        good = [
            inspection for seed in range(200, 212) if (inspection := inspected(server, seed))["verdict"] == "normal"
        ]
        assert len(good) >= 10
        left = {inspection["id"] for inspection in [*defects, said, *good[-9:]]}
        wait_for(lambda: recorded(server).keys() == left)
        whole = {inspection["id"] for inspection in [*defects, said, *good[-4:]]}
        wait_for(
            lambda: (
                {key for key, inspection in recorded(server).items() if inspection["image_availability"] == "original"}
                == whole
            )
        )
        assert {
            inspection["image_availability"] for key, inspection in recorded(server).items() if key not in whole
        } == {"thumbnail"}

        # What is left of an old one: everything but its image and map.
        old, new = good[-9]["id"], good[-1]["id"]
        at = f"/inspections/{old}"
        small = Image.open(io.BytesIO(server.client.get(f"{at}/image?side=64").raise_for_status().content))
        assert (small.format, max(small.size)) == ("JPEG", 64)
        largest = Image.open(io.BytesIO(server.client.get(f"{at}/image?side=1000").raise_for_status().content))
        assert max(largest.size) == 160
        for gone in (f"{at}/image", f"{at}/map.png", f"{at}/heat.png", f"/inspections/{good[0]['id']}"):
            check_problem(server.client.get(gone), 404, "not-found")
        assert server.client.get(f"/inspections/{new}/image").content == part(211)
        for stored in (f"/inspections/{defects[0]['id']}/image", f"/inspections/{defects[0]['id']}/map.png"):
            server.client.get(stored).raise_for_status()
        check_problem(server.client.post(f"{at}/feedback", json={"label": "good"}), 409, "conflict")
        assert server.client.get(at).json()["label"] is None
        judged = server.client.post(f"{at}/feedback", json={"label": "defect"}).json()
        assert (judged["label"], judged["image_availability"]) == ("defect", "thumbnail")
        rows = list(csv.DictReader(io.StringIO(server.client.get("/inspections?format=csv").text)))
        assert {row["id"] for row in rows} == recorded(server).keys()

        # A part that was judged good is a reference with an image of its own.
        promoted = server.client.post(f"/inspections/{new}/feedback", json={"label": "good"}).json()
        later = [inspected(server, seed) for seed in range(300, 312)]
        assert sum(inspection["verdict"] == "normal" for inspection in later) >= 9
        wait_for(lambda: new not in recorded(server))
        reference = promoted["promoted_reference_id"]
        assert server.client.get(f"/references/{reference}/image").content == part(211)

        wait_for(lambda: disc(server)["others"]["inspections"] == 9 and disc(server)["others"]["images"]["count"] == 4)
        storage = server.client.get("/storage").json()
        assert storage["limits"]["images"] == {"count": 4, "days": 30.0, "bytes": 20 << 30}
        held = disc(server)
        assert held["references"]["count"] == 25
        assert held["references"]["image_bytes"] == sum(len(part(seed)) for seed in range(24)) + len(part(211))
        assert held["others"]["next_inspections"]["count"] == held["others"]["next_images"]["count"] == 0
        assert held["defects"]["inspections"] == 5 + sum(inspection["verdict"] != "normal" for inspection in later)
        wait_for(lambda: server.client.get("/storage").json()["pending_deletion"]["count"] == 0)
        series = scrape(server.client)  # type: ignore[arg-type]
        assert value(series, "history_pruned_total", target="images", reason="limits") >= 6
        assert value(series, "history_deleted_bytes_total") > 0
        wait_for(lambda: value(scrape(server.client), "history_images", category="disc") >= 4)  # type: ignore[arg-type]
        assert abs(value(series, "history_pruned_timestamp_seconds") - time.time()) < 60
        assert server.stop() == 0
    assert verify(DataFolder.existing(data, database), lambda *_: None).damaged == ()


def kept_files(data: Path) -> dict[str, set[str]]:
    """The inspections that have files in the history, by kind of file, and the names of images."""
    names = [path.name for path in (data / "inspections").iterdir()]
    return {
        "maps": {name.partition(".")[0] for name in names if name.endswith(".png")},
        "thumbnails": {name.partition(".")[0] for name in names if name.endswith(".jpg")},
        "images": {path.stem for path in (data / "originals").glob("*/*/*")},
    }


def test_kills_while_pruning_leave_no_file_too_many_and_none_too_few(tmp_path: Path) -> None:
    data, chance = tmp_path / "data", random.Random(5)
    limits = {"KEEP_IMAGES": "6", "KEEP_INSPECTIONS": "12", **OFTEN, "PRUNE_INTERVAL_SECONDS": "0.01"}
    with taught(ServerProcess(data, **limits)) as server:
        server.stop()
    seed = 1000
    for _ in range(3):
        with ServerProcess(data, **limits).wait_until_live() as server:
            threading.Timer(chance.uniform(0.5, 1.5), server.process.kill).start()
            try:
                while True:
                    seed += 1
                    inspected(server, seed)
            except httpx.TransportError:
                pass
    assert seed > 1015, "the kills came too early to mean anything"
    with ServerProcess(data, **limits).wait_until_live() as server:
        wait_for(lambda: disc(server)["others"]["inspections"] <= 12)
        wait_for(lambda: disc(server)["others"]["images"]["count"] <= 6)
        history = recorded(server)
        whole = {key for key, inspection in history.items() if inspection["image_availability"] == "original"}
        assert len([inspection for inspection in history.values() if inspection["verdict"] not in DEFECTS]) == 12
        # Orphans are looked for when a server has started.
        wait_for(lambda: kept_files(data)["maps"] == whole)
        wait_for(lambda: kept_files(data)["thumbnails"] == history.keys())
        wait_for(lambda: len(kept_files(data)["images"]) == 24 + len(whole))
        for key in whole:
            server.client.get(f"/inspections/{key}/image").raise_for_status()
        assert server.stop() == 0
    assert verify(DataFolder.existing(data), lambda *_: None).damaged == ()


def test_a_full_disk_costs_old_images_first_then_history_and_never_detection(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    least = 2 << 20
    limits = {"MIN_FREE_BYTES": str(least), **OFTEN}
    with small_disk(tmp_path / "disk", "24m") as disk, ServerProcess(disk / "data", **limits) as server:
        taught(server)
        defect = inspected(server, 500, scratched=True)
        assert defect["verdict"] in DEFECTS
        good = [inspected(server, seed) for seed in range(100, 118)]  # more than the database may grow by meanwhile

        def free() -> int:
            return os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize

        ballast = disk / "ballast"
        ballast.write_bytes(bytes(free() - 2 * least - 10_000))
        more = [inspected(server, seed) for seed in range(200, 212)]
        assert all(inspection["recorded"] for inspection in more)
        wait_for(lambda: free() >= 2 * least)
        history = recorded(server)
        lost = [
            inspection["id"]
            for inspection in [*good, *more]
            if history[inspection["id"]]["image_availability"] == "thumbnail"
        ]
        assert lost == [inspection["id"] for inspection in [*good, *more]][: len(lost)], "the oldest went first"
        assert 0 < len(lost) < 30
        assert history[defect["id"]]["image_availability"] == "original"

        (disk / "more").write_bytes(bytes(free() - least // 4))
        wait_for(
            lambda: all(
                inspection["image_availability"] == "thumbnail"
                for inspection in recorded(server).values()
                if inspection["verdict"] not in DEFECTS
            )
        )
        wait_for(lambda: server.client.get("/storage").json()["pending_deletion"]["count"] == 0)
        last = inspected(server, 300)
        assert (last["recorded"], last["image_availability"]) == (False, "none")
        assert server.client.get("/storage").json()["disk"]["recording_enabled"] is False
        assert recorded(server)[defect["id"]]["image_availability"] == "original"
        assert server.client.get("/readyz").status_code == 200
        (disk / "more").unlink()
        wait_for(lambda: bool(inspected(server, 301)["recorded"]))
        assert server.stop() == 0


def test_prune_dry_run_matches_what_concurrent_prunes_remove(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History.begin(tmp_path / "data", database)
    history.record(*(inspection(index) for index in range(150)), inspection(150, verdict="anomalous"))
    limits = {"KEEP_IMAGES": "5", "KEEP_INSPECTIONS": "20"}
    ever = {f"KEEP_{what}_DAYS": "0" for what in ("IMAGES", "INSPECTIONS", "DEFECTS", "DEFECT_IMAGES")}
    for name, limit in (limits | ever | {"DATA": str(history.data), "DATABASE_URL": history.url}).items():
        monkeypatch.setenv(f"TOUCHSTONE_{name}", limit)
    would = CliRunner().invoke(app, ["prune", "--dry-run"])
    assert (would.exit_code, would.stdout.splitlines()) == (
        0,
        ["bolt: others: 130 inspections, 13000 bytes", "bolt: others: 145 images, 174000 bytes"],
    )
    assert len(history.files()) == 3 * 151, "nothing went"
    for process in [started("prune", data=history.data) for _ in range(2)]:
        assert process.wait(120) == 0
    assert history.numbers() == list(range(130, 151))
    assert history.with_images() == list(range(145, 151))
    assert history.files() == history.needed()
    assert CliRunner().invoke(app, ["prune"]).stdout == ""
    missing = CliRunner().invoke(app, ["prune", "--data", str(history.data / "nowhere")])
    assert missing.exit_code == 2
    assert missing.stderr.startswith("touchstone: there is no data folder")
    history.catalogue.close()
