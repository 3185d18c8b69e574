"""A real server process: killed, starved of disk, damaged, doubled. What it acknowledged stays true."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

from indexer.imaging.encode import encode_png
from tests.helpers.http_service import files
from tests.helpers.metrics import scrape, value
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from tests.helpers.small_disk import small_disk
from tests.helpers.waiting import eventually

KILLS = 8  # `make torture` has two hundred


def onboard_until_it_dies(server: ServerProcess, first: int, acknowledged: dict[str, int]) -> int:
    """Onboard images `first`, `first + 1`, … by twos, noting what was acknowledged; returns the first not sent."""
    next_seed = first
    while True:
        body = [("images", (f"{seed}.png", part(seed), "image/png")) for seed in (next_seed, next_seed + 1)]
        next_seed += 2
        try:
            response = server.client.post("/references", data={"category": "disc"}, files=body)
        except httpx.TransportError:
            return next_seed
        assert response.status_code == 200, response.text
        for result in response.json()["results"]:
            acknowledged[result["filename"]] = result["reference_id"]


def test_acknowledged_references_survive_kills_and_nothing_else_appears(tmp_path: Path) -> None:
    rng = random.Random(4)
    data, probe = tmp_path / "data", part(12345, scratched=True)
    acknowledged: dict[str, int] = {}
    next_seed, landed = 2, 0
    with ServerProcess(data).wait_until_live() as server:
        begun = time.monotonic()
        server.teach("disc", part(0), part(1))
        seconds = time.monotonic() - begun  # of a request, on this machine as it is today
    for _ in range(KILLS):
        with ServerProcess(data).wait_until_live() as server:
            before = dict(acknowledged)
            threading.Timer(rng.uniform(0.02, 4) * seconds, server.process.kill).start()
            next_seed = onboard_until_it_dies(server, next_seed, acknowledged)
            landed += len(acknowledged) > len(before)
    assert landed >= KILLS // 3, "the kills came too early to mean anything"

    with ServerProcess(data).wait_until_live() as server:
        references = server.references()
        assert len(set(references.values())) == len(references), "an image was onboarded twice"
        for filename, reference_id in acknowledged.items():
            assert references.get(reference_id) == filename
        # What is there but was never acknowledged was sent, whole, in the very request that a kill cut off.
        unacknowledged = {int(name.split(".")[0]) for name in references.values() if name not in acknowledged}
        assert all(0 <= seed < next_seed for seed in unacknowledged)
        assert {seed ^ 1 for seed in unacknowledged} == unacknowledged, "half a request appeared"
        assert len(unacknowledged) <= 2 * KILLS
        server.wait_until_calibrated("disc")
        score = server.score(probe)
        assert server.client.get("/readyz").status_code == 200
        segments = {path.name for path in (data / "segments").iterdir()}
        assert not [name for name in segments if name.endswith(".tmp")]
        assert server.stop() == 0
    with ServerProcess(data).wait_until_live() as server:
        assert server.references() == references
        server.wait_until_calibrated("disc")
        assert server.score(probe) == score
        for filename in random.Random(1).sample(sorted(acknowledged), 5):
            seed = int(filename.split(".")[0])
            repeated = server.client.post("/references", data={"category": "disc"}, files=files(part(seed))).json()
            repeated["results"][0].pop("notices")  # that the tests' small window leaves out a border
            assert repeated["results"][0] == {
                "filename": "0.png",
                "status": "duplicate",
                "reference_id": acknowledged[filename],
                "reason": None,
                "detail": None,
                "findings": [],
            }


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_segment_is_named_and_not_served(tmp_path: Path, damage: str) -> None:
    data = tmp_path / "data"
    with ServerProcess(data).wait_until_live() as server:
        for seed in (0, 10):
            server.client.post("/references", data={"category": "disc"}, files=files(part(seed), part(seed + 1)))
        assert server.client.get("/version").json()["references"] == 4
        server.stop()
    victim = sorted((data / "segments").iterdir(), key=lambda path: path.stat().st_mtime_ns)[0]
    content = bytearray(victim.read_bytes())
    if damage == "missing":
        victim.unlink()
    else:
        content[len(content) // 2] ^= 1
        victim.write_bytes(content if damage == "flipped" else content[:-7])
    with ServerProcess(data).wait_until_live() as server:
        assert victim.name in server.log.read_text()
        version = server.client.get("/version").json()
        assert (version["corrupt_segments"], version["references"]) == ([victim.name], 2)
        ready = server.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["corrupt_segments"] == [victim.name]
        assert server.score(part(99)) > 0


def test_a_memory_made_by_another_encoder_is_refused_in_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data).wait_until_live() as server:
        server.client.post("/references", data={"category": "disc"}, files=files(part(1)))
        server.stop()
    for change, word in (({"CROP": "96"}, "112 pixels"), ({"CODEC": "int8"}, "fp16")):
        with ServerProcess(data, **change) as other:
            assert other.process.wait(60) == 2
            lines = other.log.read_text().strip().splitlines()
            assert len(lines) == 1, lines
            assert word in lines[0]
            assert "touchstone rebuild" in lines[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "Address already in use"),
        ({"HOST": "192.0.2.1", "ACCESS": "keys"}, "Cannot assign"),
        ({"HOST": "nowhere.invalid", "ACCESS": "keys"}, "not known"),
    ],
)
def test_an_unusable_address_is_one_line(tmp_path: Path, given: dict[str, str], says: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        ServerProcess(tmp_path / "data", port=taken.getsockname()[1], **given) as server,
    ):
        assert server.process.wait(60) == 2
        [line] = server.log.read_text().splitlines()
        assert line.startswith("touchstone: cannot listen on ")
        assert says in line


def test_two_processes_on_one_folder_see_each_other_and_corrupt_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data).wait_until_live() as one, ServerProcess(data).wait_until_live() as two:
        failures: list[str] = []

        def send(server: ServerProcess, first: int) -> None:
            for seed in range(first, first + 20):
                response = server.client.post("/references", data={"category": "disc"}, files=files(part(seed)))
                if response.status_code != 200:
                    failures.append(response.text)

        # Ten of the images are sent to both.
        threads = [threading.Thread(target=send, args=(one, 0)), threading.Thread(target=send, args=(two, 10))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        eventually(lambda: one.client.get("/version").json()["references"] == 30, "one knows all of them")
        eventually(lambda: two.client.get("/version").json()["references"] == 30, "the other knows all of them")
        assert one.references() == two.references()
        for server in (one, two):
            server.wait_until_calibrated("disc")
        assert one.score(part(500)) == pytest.approx(two.score(part(500)), abs=1e-6)
        gone = next(iter(one.references()))
        one.client.delete(f"/references/{gone}")
        eventually(lambda: two.client.get("/version").json()["references"] == 29, "the other knows that one is gone")
    with ServerProcess(data).wait_until_live() as server:
        assert len(server.references()) == 29
        assert server.client.get("/readyz").status_code == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_fails_the_onboarding_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "12m") as disk, ServerProcess(disk / "data").wait_until_live() as server:
        body = files(*(part(seed) for seed in range(4)))
        assert server.client.post("/references", data={"category": "disc"}, files=body).status_code == 200
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - 40_000))
        before = server.references()
        refused = server.client.post(
            "/references", data={"category": "disc"}, files=files(*(part(seed) for seed in range(100, 130)))
        )
        assert refused.status_code == 507, refused.text
        assert refused.json()["type"] == "/problems/storage-full"
        assert server.references() == before
        assert server.client.get("/version").json()["references"] == 4
        response = server.client.post("/detect", files=files(part(7, scratched=True)))
        assert response.status_code == 200, response.text
        assert server.client.get("/readyz").status_code == 200
        ballast.unlink()
        later = server.client.post("/references", data={"category": "disc"}, files=files(part(100)))
        assert later.status_code == 200, later.text
        server.wait_until_calibrated("disc")
        score = server.score(part(9))
        server.stop()
        with ServerProcess(disk / "data").wait_until_live() as restarted:
            assert len(restarted.references()) == 5
            restarted.wait_until_calibrated("disc")
            assert restarted.score(part(9)) == score


def large_part(seed: int) -> bytes:
    """A part in noise, as a PNG of some 3 MB."""
    noise = np.random.default_rng(seed).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    return encode_png(noise)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_temporary_folder_has_no_effect(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "temporary", "8m") as temporary,
        ServerProcess(tmp_path / "data", environment={"TMPDIR": str(temporary)}).wait_until_live() as server,
    ):
        assert server.client.post("/detect", files=files(large_part(0))).status_code == 409, "nothing is known yet"
        assert list(temporary.iterdir()) == []
        with suppress(OSError), (temporary / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"." * 4096):
                pass
        body = files(*(large_part(seed) for seed in range(1, 4)))
        added = server.client.post("/references", data={"category": "disc"}, files=body)
        assert added.status_code == 200, added.text
        response = server.client.post("/detect", files=files(large_part(9)))
        assert response.status_code == 200, response.text
        assert response.json()["results"][0]["recorded"] is True
        assert server.client.get("/inspections").status_code == 200
        assert server.client.get("/readyz").status_code == 200


def test_sigterm_finishes_accepted_work(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data").wait_until_live() as server:
        answers: list[int] = []

        def send() -> None:
            body = files(*(part(seed) for seed in range(40)))
            answers.append(server.client.post("/references", data={"category": "disc"}, files=body).status_code)

        sender = threading.Thread(target=send)
        sender.start()
        eventually(
            lambda: value(scrape(server.client), "images_in_flight", queue="onboard"), "its images are in flight"
        )
        server.process.terminate()
        sender.join()
        assert server.process.wait(60) == 0
        assert answers == [200]
    with ServerProcess(tmp_path / "data").wait_until_live() as server:
        assert len(server.references()) == 40
