"""References are added while others are removed at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.testclient import TestClient

from indexer.memory import MemoryBank
from service.app import create_app
from service.state import AppState
from tests.helpers.http_service import onboard, settings
from tests.helpers.part_images import part
from tests.helpers.waiting import PATIENCE, eventually


def test_an_image_whose_reference_is_removed_while_it_is_sent_again_is_added(tmp_path: Path) -> None:
    running = AppState.start(settings(tmp_path))
    release, blocked = threading.Event(), threading.Event()

    def block(_: MemoryBank) -> None:
        blocked.set()
        release.wait(PATIENCE)

    with TestClient(create_app(running), base_url="http://localhost") as client, ThreadPoolExecutor(1) as pool:
        [first] = onboard(client, "disc", part(1))
        running.worker.submit_calibration(block)
        assert blocked.wait(PATIENCE)
        sending = pool.submit(onboard, client, "disc", part(1), part(2))  # of which only the second is encoded
        eventually(lambda: running.worker.queue_stats()["onboard"][0] == 1, "the new image is not encoded")
        client.delete(f"/references/{first}").raise_for_status()
        release.set()
        sent_again, second = sending.result(PATIENCE)
        live = [reference["id"] for reference in client.get("/references").json()["references"]]
        assert live == sorted([sent_again, second])
        assert onboard(client, "disc", part(1)) == [sent_again]
