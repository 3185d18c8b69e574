"""Images and bytes in flight are bounded, separately for detection and onboarding."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from starlette.testclient import TestClient

from indexer.imaging.encode import encode_png
from service.app import create_app
from service.inference.in_flight import Budget
from service.inference.worker import QueueFullError
from service.state import AppState
from tests.helpers.http_service import files, onboard, settings
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually

LARGE = 3000  # pixels a side: 27 MB decoded, a tenth of a second of decoding
PATIENCE = 60  # seconds for what should take a few


def large(seed: int) -> bytes:
    """An image of few bytes and many pixels."""
    image = np.full((LARGE, LARGE, 3), 60, np.uint8)
    image[:: seed + 2] = 90
    return encode_png(image)


@pytest.fixture(scope="module")
def heavy() -> list[bytes]:
    """Images whose pixels would take 650 MB together."""
    return [large(seed) for seed in range(24)]


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with room for 6 images a kind of work, 60 MB decoded, and 1 MB of bodies."""
    limits = {
        "QUEUE_SIZE": "4",
        "BATCH_SIZE": "2",
        "ONBOARDING_QUEUE_SIZE": "6",
        "MAX_DECODED_BYTES": "60000000",
        "MAX_IN_FLIGHT_BYTES": "1000000",
    }
    with ServerProcess(tmp_path / "data", **limits).wait_until_live() as server:
        server.teach("disc", *(part(seed) for seed in range(3)))
        yield server
        assert "Traceback" not in server.log.read_text(), server.log.read_text()


def ask(server: ServerProcess, route: str, *images: bytes) -> httpx.Response:
    """One request on a connection of its own."""
    fields = {"category": "disc"}
    return httpx.post(f"{server.client.base_url}{route}", data=fields, files=files(*images), timeout=PATIENCE)


def in_flight(server: ServerProcess, what: str, queue: str) -> float:
    """A gauge of what is under way."""
    name = f'touchstone_{what}_in_flight{{queue="{queue}"}} '
    [sample] = [line for line in server.client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(sample.rpartition(" ")[2])


def check_busy(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/queue-full"), answer.text
    assert int(answer.headers["retry-after"]) >= 1


def test_a_budget_counts_what_is_added_and_given_back() -> None:
    budget = Budget(10, lambda: 7)
    with budget.lease(4) as first, budget.lease(6) as second:
        with pytest.raises(QueueFullError) as caught, budget.lease(1):
            pass
        assert caught.value.retry_after == 7
        with budget.lease() as nothing:
            nothing.add(0)
        second.release(2)
        first.add(2)
        with pytest.raises(QueueFullError):
            first.add(1)
        assert (budget.used, first.acquired, second.acquired) == (10, 6, 4)
        second.release(99)
        assert budget.used == 6
    assert budget.used == 0


def test_what_is_larger_than_a_whole_budget_is_taken_alone() -> None:
    budget = Budget(10, lambda: 1)
    with budget.lease(11) as alone:
        alone.add(5)
        with budget.lease() as nothing, pytest.raises(QueueFullError):
            nothing.add(1)
    with budget.lease(1) as little:
        with pytest.raises(QueueFullError), budget.lease(11):
            pass
        little.add(11)


@pytest.mark.parametrize(("route", "line"), [("/detect", "detecting"), ("/references", "onboarding")])
def test_images_under_way_are_counted_and_not_requests(client: TestClient, route: str, line: str) -> None:
    onboard(client, "disc", part(1), part(2))
    kind = getattr(client.app.state.app_state, line)  # type: ignore[attr-defined]
    given = client.app.state.app_state.settings  # type: ignore[attr-defined]
    most = given.queue_size + given.batch_size if line == "detecting" else given.onboarding_queue_size
    fields = {"category": "disc"}
    with kind.images.lease(most - 2) as others:
        answer = client.post(route, data=fields, files=files(*(part(seed) for seed in range(3))))
        check_busy(answer)
        assert client.post(route, data=fields, files=files(part(3), part(4))).status_code == 200
        others.add(2)
        check_busy(client.post(route, data=fields, files=files(b"not even an image")))
    assert client.post(route, data=fields, files=files(part(5), part(6), part(7))).status_code == 200
    assert (kind.images.used, kind.decoded_bytes.used, kind.held_bytes.used) == (0, 0, 0)


@pytest.mark.parametrize("path", ["region-of-interest", "restore", "restore all", "feedback"])
def test_every_route_that_decodes_has_its_part_in_the_bounds(client: TestClient, path: str) -> None:
    [one, _] = onboard(client, "disc", part(1), part(2))
    inspected = client.post("/detect", files=files(part(3))).json()["results"][0]["id"]
    assert client.delete(f"/references/{one}").status_code == 200
    if path == "restore all":
        assert client.delete("/categories/disc").status_code == 200
    kind = client.app.state.app_state.onboarding  # type: ignore[attr-defined]

    def asked() -> httpx.Response:
        if path == "region-of-interest":
            return client.put(f"/categories/disc/{path}", files=files(encode_png(np.full((32, 32), 255, np.uint8))))
        if path == "restore all":
            return client.post("/categories/disc/restore")
        if path == "restore":
            return client.post(f"/references/{one}/{path}")
        return client.post(f"/inspections/{inspected}/{path}", json={"label": "good", "confirm": True})

    for budget in (kind.images, kind.decoded_bytes, kind.held_bytes):
        with budget.lease(1 << 40):
            check_busy(asked())
    assert asked().status_code == 200
    assert (kind.images.used, kind.decoded_bytes.used, kind.held_bytes.used) == (0, 0, 0)


def test_a_category_is_restored_whatever_the_bounds(tmp_path: Path) -> None:
    small = settings(tmp_path, onboarding_queue_size=2, max_in_flight_bytes=100_000, max_decoded_bytes=100_000)
    with TestClient(create_app(AppState.start(small)), base_url="http://localhost") as client:
        onboard(client, "disc", *(part(seed) for seed in range(5)))
        assert client.delete("/categories/disc").status_code == 200
        answer = client.post("/categories/disc/restore")
        assert (answer.status_code, answer.json()["restored"]) == (200, 5), answer.text


def test_kept_images_that_are_sent_are_counted(client: TestClient) -> None:
    [one, _] = onboard(client, "disc", part(1), part(2))
    inspected = client.post("/detect", files=files(part(3))).json()["results"][0]["id"]
    held = client.app.state.app_state.onboarding.held_bytes  # type: ignore[attr-defined]
    for path in (f"/references/{one}/image", f"/inspections/{inspected}/image", f"/references/{one}/image?side=64"):
        with held.lease(1 << 40):
            check_busy(client.get(path))
        assert client.get(path).status_code == 200
    assert held.used == 0


def test_pixels_that_would_not_fit_are_refused_before_they_are_decoded(small_server: ServerProcess) -> None:
    images = [large(seed) for seed in range(4)]  # 108 MB, more than may be under way: taken when alone
    with ThreadPoolExecutor(1) as other:
        first = other.submit(ask, small_server, "/references", *images)
        eventually(
            lambda: in_flight(small_server, "decoded_bytes", "onboard") >= 60_000_000, "it is being decoded", PATIENCE
        )
        check_busy(ask(small_server, "/references", large(9)))
        assert ask(small_server, "/detect", part(9)).status_code == 200, "detection has a budget of its own"
        assert first.result().status_code == 200
    assert ask(small_server, "/references", large(9)).status_code == 200
    assert in_flight(small_server, "decoded_bytes", "onboard") == 0


@pytest.mark.parametrize("declared", [True, False])
def test_bodies_that_are_held_are_bounded(small_server: ServerProcess, declared: bool) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="images"; filename="1.png"\r\n\r\n' + bytes(900_000)
    length = b"Content-Length: 950000" if declared else b"Transfer-Encoding: chunked"
    head = b"POST /references HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection(("127.0.0.1", small_server.port), timeout=PATIENCE) as slow:
        slow.sendall(head + length + b"\r\n\r\n" + (body if declared else b"%x\r\n%b\r\n" % (len(body), body)))
        eventually(lambda: in_flight(small_server, "file_bytes", "onboard") >= 900_000, "the body has come", PATIENCE)
        check_busy(ask(small_server, "/references", part(5) + bytes(200_000)))
        assert ask(small_server, "/detect", part(5) + bytes(200_000)).status_code == 200
        assert small_server.client.get("/categories").status_code == 200
    eventually(lambda: not in_flight(small_server, "file_bytes", "onboard"), "what is gone is not counted", PATIENCE)
    assert ask(small_server, "/references", part(5) + bytes(200_000)).status_code == 200


@contextmanager
def growing_less_than(server: ServerProcess, most: float) -> Iterator[None]:
    """Check that the server's memory grows by less than so many bytes, looking often."""
    process, done, highest = psutil.Process(server.process.pid), threading.Event(), 0
    before = process.memory_info().rss

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.02):
            highest = max(highest, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()
    assert highest - before < most, f"{(highest - before) / 1e6:.0f} MB"


@pytest.mark.parametrize(("route", "line"), [("/detect", "detect"), ("/references", "onboard")])
def test_many_large_images_hold_neither_memory_nor_detection(
    tmp_path: Path, heavy: list[bytes], route: str, line: str
) -> None:
    with ServerProcess(tmp_path / "data").wait_until_live() as server, ThreadPoolExecutor(1) as other:
        server.teach("disc", part(1), part(2))
        with growing_less_than(server, 510e6):  # each thread that decodes holds an image some times over
            many = other.submit(ask, server, route, *heavy)
            most = 0.8 * 3 * LARGE * LARGE * len(heavy)
            eventually(lambda: in_flight(server, "decoded_bytes", line) >= most, "they are being decoded", PATIENCE)
            for seed in range(3):
                assert ask(server, "/detect", part(seed)).status_code == 200
            assert in_flight(server, "decoded_bytes", line) > 3 * LARGE * LARGE, "detections waited for all of them"
            assert many.result().status_code == 200
