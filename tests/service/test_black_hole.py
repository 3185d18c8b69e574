"""A database that accepts data and never responds stops recording, not detection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.database_proxy import DatabaseProxy
from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess

PEOPLE = 40  # requests that wait for the database at once: more than there are threads for them


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[DatabaseProxy]:
    url = postgres.new_database(migrated=True)
    with DatabaseProxy(url) as through:
        yield through
    postgres.drop(url)


def detect(server: ServerProcess, seed: int, **headers: str) -> dict[str, Any]:
    """The result."""
    response = server.client.post("/detect", files=files(part(seed)), headers=headers)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()["results"][0]
    return result


def test_detections_go_on_unrecorded_while_the_database_is_a_black_hole(tmp_path: Path, proxy: DatabaseProxy) -> None:
    with ServerProcess(tmp_path / "data", DATABASE_URL=proxy.url).wait_until_live() as server:
        server.teach("disc", *(part(seed) for seed in range(4)))
        assert detect(server, 10)["recorded"] is True
        proxy.swallow()
        requested = threading.Barrier(PEOPLE + 1)

        def ask(seed: int) -> int:
            requested.wait(30)
            with httpx.Client(base_url=server.client.base_url, timeout=120) as client:
                routes = ("/inspections", "/inspections?format=csv", "/categories", "/storage", "/references")
                return client.get(routes[seed % len(routes)]).status_code

        with ThreadPoolExecutor(PEOPLE) as people, ThreadPoolExecutor(6) as line:
            waiting = [people.submit(ask, seed) for seed in range(PEOPLE)]
            requested.wait(30)
            first = list(line.map(lambda seed: detect(server, seed, **{"Idempotency-Key": f"p{seed}"}), range(6)))
            assert {result["recorded"] for result in first} <= {False, None}
            later = list(line.map(lambda seed: detect(server, seed), range(20, 50)))
            assert {result["recorded"] for result in later} == {False}
            assert not all(request.done() for request in waiting), "people still wait, and stand in nobody's way"
            assert server.client.get("/healthz").status_code == 200
            refused = server.client.post("/references", data={"category": "disc"}, files=files(part(99)))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert {request.result() for request in waiting} == {503}
        written = {path.name.partition(".")[0] for path in (tmp_path / "data" / "inspections").iterdir()}
        assert written.isdisjoint(result["id"] for result in later)  # nothing is left of what was not tried
        proxy.flow()
        end = time.monotonic() + 60
        while (result := detect(server, 60))["recorded"] is not True:
            assert time.monotonic() < end, "the database is back"
            time.sleep(0.2)
        recorded = {
            inspection["id"] for inspection in server.client.get("/inspections?limit=1000").json()["inspections"]
        }
        assert result["id"] in recorded
        unrecorded = [result["id"] for result in (*first, *later) if result["recorded"] is False]
        assert recorded.isdisjoint(unrecorded)


def test_a_service_with_an_unresponsive_database_stops_on_sigterm(tmp_path: Path, proxy: DatabaseProxy) -> None:
    with ServerProcess(tmp_path / "data", DATABASE_URL=proxy.url).wait_until_live() as server:
        server.teach("disc", *(part(seed) for seed in range(3)))
        proxy.swallow()
        with ThreadPoolExecutor(PEOPLE) as people:
            url = f"{server.client.base_url}/inspections"
            waiting = [people.submit(httpx.get, url, timeout=120) for _ in range(PEOPLE)]
            assert detect(server, 10)["recorded"] is not True
            assert server.stop() == 0
            assert {request.result().status_code for request in waiting} == {503}
