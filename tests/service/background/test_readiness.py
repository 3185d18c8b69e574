"""/readyz: what was last seen, for as many as ask, beside all detections."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import anyio.to_thread
import pytest
import torch
from starlette.testclient import TestClient

from indexer.encoders import Encoder
from indexer.memory import MemoryBank
from service.app import create_app
from service.auth import Role, generate_api_key
from service.background import readiness
from service.state import AppState
from tests.helpers.http_service import check_problem, files, onboard, settings
from tests.helpers.metrics import scrape, value
from tests.helpers.part_images import part
from tests.helpers.waiting import eventually


def test_probes_cost_nothing_and_are_answered_while_the_queue_is_full(tmp_path: Path) -> None:
    running = AppState.start(settings(tmp_path, queue_size=1, batch_size=1))
    release, blocked = threading.Event(), threading.Event()

    def block(_: MemoryBank) -> None:
        blocked.set()
        release.wait(60)

    with TestClient(create_app(running), base_url="http://localhost") as client:
        onboard(client, "disc", part(1), part(2))
        running.worker.submit_calibration(block)
        assert blocked.wait(20)
        waiting = [threading.Thread(target=lambda: client.post("/detect", files=files(part(3)))) for _ in range(2)]
        try:
            for thread in waiting:
                thread.start()
            eventually(lambda: running.worker.waiting, "a detection waits")
            for _ in range(100):
                assert client.get("/readyz").status_code == 200
            assert running.worker.waiting, "the detection has been waiting all the while"
            assert running.worker.queue_stats()["detect"][0] <= 1
        finally:
            release.set()
            for thread in waiting:
                thread.join()


def test_a_probe_and_a_key_need_no_thread_of_a_pool(tmp_path: Path) -> None:
    running = AppState.start(settings(tmp_path, access="keys"))
    made = generate_api_key("line", Role.LINE)
    running.reference_store.catalogue.api_keys.create(made.key)
    release = threading.Event()

    async def hang() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(100):  # more than either pool has threads
            hanging.append(loop.run_in_executor(None, release.wait, 60))
            hanging.append(loop.create_task(anyio.to_thread.run_sync(release.wait, 60)))

    hanging: list[asyncio.Future[bool]] = []
    with TestClient(create_app(running), base_url="http://localhost") as client:
        assert client.portal is not None
        client.portal.call(hang)
        try:
            assert client.get("/readyz").status_code == 200
            assert client.get("/access", headers={"Authorization": f"Bearer {made.token}"}).status_code == 200
            assert not any(call.done() for call in hanging)
        finally:
            release.set()


def test_a_probe_counts_as_no_detection_and_sends_no_image_of_its_own(client: TestClient) -> None:
    running: AppState = client.app.state.app_state  # type: ignore[attr-defined]
    before, blanks = scrape(client), encodings(running)
    for _ in range(30):
        assert client.get("/readyz").status_code == 200
    time.sleep(readiness.CHECK_SECONDS + readiness._FRESH_SECONDS)
    ready = client.get("/readyz").json()
    assert ready["forward_ms"] > 0
    after = scrape(client)
    for line in ("detect", "onboard", "calibrate"):
        assert value(after, "batch_images_count", queue=line) == value(before, "batch_images_count", queue=line) == 0
    assert value(after, "stage_seconds_count", stage="encode") == 0
    assert 1 <= len(blanks) <= 3, "one every few seconds, however many ask"


def encodings(running: AppState) -> list[int]:
    """The batch sizes of what goes through the encoder from now on."""
    sizes: list[int] = []
    encode = running.encoder.encode

    def counting(batch: torch.Tensor) -> object:
        sizes.append(len(batch))
        return encode(batch)

    running.encoder.encode = counting  # type: ignore[method-assign, assignment]
    return sizes


def test_detections_are_proof_enough_that_images_go_through(client: TestClient) -> None:
    onboard(client, "disc", part(1), part(2))
    running: AppState = client.app.state.app_state  # type: ignore[attr-defined]
    sizes = encodings(running)
    detections = 0
    end = time.monotonic() + 3 * readiness.CHECK_SECONDS
    while time.monotonic() < end:
        assert client.post("/detect", files=files(part(3))).status_code == 200
        detections += 1
        time.sleep(0.2)
    assert len(sizes) == detections, "nothing was encoded besides"


def test_an_encoder_that_fails_is_not_ready_until_it_works_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder: Encoder = client.app.state.app_state.encoder  # type: ignore[attr-defined]
    assert client.get("/readyz").status_code == 200

    def broken(_: torch.Tensor) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered at /srv")

    with monkeypatch.context() as patched:
        patched.setattr(encoder, "encode", broken)
        eventually(lambda: client.get("/readyz").status_code == 503, "nobody noticed")
        response = client.get("/readyz")
        assert "RuntimeError" in str(check_problem(response, 503, "not-ready")["detail"])
        assert "/srv" not in response.text
        assert response.headers["retry-after"]
        assert value(scrape(client), "not_ready") == 1
    eventually(lambda: client.get("/readyz").status_code == 200, "it is not looked at again")


def test_an_encoder_that_hangs_is_not_ready(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_STUCK_SECONDS", 1.0)
    running: AppState = client.app.state.app_state  # type: ignore[attr-defined]
    release = threading.Event()
    running.worker.submit_calibration(lambda _: release.wait(60))
    try:
        eventually(lambda: client.get("/readyz").status_code == 503, "nobody noticed")
        assert "Nothing has come out" in client.get("/readyz").json()["detail"]
    finally:
        release.set()
    eventually(lambda: client.get("/readyz").status_code == 200, "it is not looked at again")
