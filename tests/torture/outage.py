"""An outage of the database: detection continues, onboarding gets 503, nothing is lost."""

from __future__ import annotations

import time
from pathlib import Path

from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.torture.keyed import KeyedServer


def outage(folder: Path, seconds: float) -> str:
    """PostgreSQL is stopped for so many seconds under a running service."""
    postgres = PostgresServer()
    postgres.start()
    try:
        url = postgres.new_database(migrated=True)
        with KeyedServer(folder / "data", DATABASE_URL=url).wait_until_live() as server:
            client = server.client
            body = files(*(part(seed) for seed in range(6)))
            client.post("/references", data={"category": "disc"}, files=body).raise_for_status()
            server.wait_until_calibrated("disc")
            score = server.score(part(99))
            postgres.stop()
            gone, detected, refused = time.monotonic(), 0, 0
            while time.monotonic() < gone + seconds:
                response = client.post("/detect", files=files(part(99)))
                assert response.status_code == 200, response.text
                [result] = response.json()["results"]
                assert result["score"] == score
                assert result["recorded"] is False
                detected += 1
                response = client.post("/references", data={"category": "disc"}, files=files(part(1000 + refused)))
                assert response.status_code == 503, response.text
                assert "retry-after" in response.headers
                refused += 1
                assert client.get("/healthz").status_code == 200
                time.sleep(0.5)
            postgres.start()
            back = time.monotonic()
            while client.post("/references", data={"category": "disc"}, files=files(part(500))).status_code != 200:
                assert time.monotonic() < back + 10
                time.sleep(0.1)
            recovered = time.monotonic() - back
            assert len(server.references()) == 7, "what was refused is there, or what was added is not"
            [result] = client.post("/detect", files=files(part(99))).json()["results"]
            assert result["recorded"] is True
            assert client.get("/readyz").status_code == 200
            assert server.stop() == 0
    finally:
        postgres.remove()
    return (
        f"away for {seconds:g} s: {detected} of {detected} detections answered as before (unrecorded), {refused} of "
        f"{refused} onboardings refused with 503 and Retry-After; onboarding again {recovered:.2f} s after its return"
    )
