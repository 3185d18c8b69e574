"""What the client repeats, when, and for how long, against a scripted server."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.clients.helpers.scripted_server import Response, scripted_server
from tests.clients.helpers.service_responses import HANG_UP, LIVE, error_response
from tests.helpers.dripping_server import dripping_server
from touchstone_client import (
    NO_RETRIES,
    AsyncClient,
    Client,
    ConnectionFailed,
    InternalError,
    Problem,
    Retries,
    Timeouts,
    Unavailable,
)

QUICK = Retries(max_attempts=4, initial_wait=0.01)


@pytest.mark.parametrize(
    "failure",
    [error_response("queue-full", 503), error_response("deadline-exceeded", 504), (502, {}, "bad gateway"), HANG_UP],
    ids=["queue-full", "deadline", "gateway", "connection lost"],
)
def test_a_transient_failure_is_retried(failure: Response) -> None:
    with scripted_server(failure, failure, LIVE) as server, Client(server.url, retries=QUICK) as client:
        assert client.live().status == "live"
        assert len(server.requests) == 3

    async def live() -> str:
        async with AsyncClient(server.url, retries=QUICK) as client:
            return (await client.live()).status

    with scripted_server(failure, LIVE) as server:
        assert asyncio.run(live()) == "live"
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("slug", "status"),
    [("invalid-request", 422), ("not-found", 404), ("conflict", 409), ("storage-full", 507), ("internal", 500)],
)
def test_a_permanent_failure_is_not_retried(slug: str, status: int) -> None:
    with scripted_server(error_response(slug, status)) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(Problem, match=f"about {slug}"):
            client.live()
        assert len(server.requests) == 1


def test_creating_a_key_is_not_retried_since_that_could_create_two() -> None:
    with scripted_server(HANG_UP) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(ConnectionFailed):
            client.create_api_key("press-4", "line")
        assert len(server.requests) == 1


def test_the_wait_is_at_least_the_services_retry_after() -> None:
    busy = error_response("queue-full", 503, **{"Retry-After": "1"})
    with scripted_server(busy, LIVE) as server, Client(server.url, retries=QUICK) as client:
        client.live()
        assert server.requests[1].received_at - server.requests[0].received_at >= 1.0


def test_the_total_timeout_also_ends_an_answer_that_comes_in_small_parts(tmp_path: Path) -> None:
    timeouts = Timeouts(total=1)

    async def live(url: str) -> None:
        async with AsyncClient(url, timeouts=timeouts) as client:
            await client.live()

    async def download(url: str) -> None:
        async with AsyncClient(url, timeouts=timeouts) as client:
            await client.download_dataset(tmp_path / "data.zip")

    with dripping_server() as url, Client(url, timeouts=timeouts) as client:
        for call in (
            client.live,
            lambda: client.download_dataset(tmp_path / "data.zip"),
            lambda: asyncio.run(live(url)),
            lambda: asyncio.run(download(url)),
        ):
            begun = time.monotonic()
            with pytest.raises(ConnectionFailed, match="timed out"):
                call()
            assert time.monotonic() - begun < 5
    assert not list(tmp_path.iterdir())


def test_a_wait_beyond_the_total_timeout_is_not_started() -> None:
    busy = error_response("queue-full", 503, **{"Retry-After": "30"})
    with scripted_server(busy) as server, Client(server.url, retries=QUICK, timeouts=Timeouts(total=5)) as client:
        with pytest.raises(Unavailable) as raised:
            client.live()
        assert raised.value.retry_after == 30
        assert len(server.requests) == 1


@pytest.mark.parametrize("retry_after", ["61", "86400", "9" * 400, "Wed, 21 Oct 2065 07:28:00 GMT"])
def test_a_retry_after_above_the_maximum_is_raised_instead_of_waited_for(retry_after: str) -> None:
    busy = error_response("queue-full", 503, **{"Retry-After": retry_after, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"})
    with scripted_server(busy, LIVE) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(Unavailable) as raised:
            client.live()
        assert (raised.value.retry_after or 0) > 60
        assert len(server.requests) == 1

    async def live() -> None:
        async with AsyncClient(server.url, retries=QUICK) as client:
            with pytest.raises(Unavailable):
                await client.live()

    with scripted_server(busy, LIVE) as server:
        asyncio.run(live())


def test_a_retry_after_given_as_a_time_is_relative_to_the_responses_date() -> None:
    times = {"Retry-After": "Wed, 21 Oct 2015 07:28:01 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with (
        scripted_server(error_response("queue-full", 503, **times), LIVE) as server,
        Client(server.url, retries=QUICK) as client,
    ):
        client.live()
        assert server.requests[1].received_at - server.requests[0].received_at >= 1.0


@pytest.mark.parametrize("retry_after", ["soon", "-1", "\u00b2", "1e9", "Wed, 99 Oct 2015"])
def test_a_retry_after_that_cannot_be_read_is_ignored(retry_after: str) -> None:
    busy = error_response("queue-full", 503, **{"Retry-After": retry_after})
    with scripted_server(busy, LIVE) as server, Client(server.url, retries=QUICK) as client:
        assert client.live().status == "live"


UNFAMILIAR = {"threshold": None, "rate_supported": False, "references_needed": 999}
CALIBRATION = {"state": "none", "progress": 1, "references": 0, "references_needed": 99, "rate_supported": False}
ADDED = {
    "category": "a",
    "version": 1,
    "added": 1,
    "duplicates": 0,
    "rejected": 0,
    "images_until_outlier_check": None,
    "results": [{"filename": "x", "status": "added", "reference_id": 1}],
    "calibration": {**CALIBRATION, "duplicates": 0, "unfamiliar": UNFAMILIAR},
}


def test_an_image_that_the_service_fails_on_is_refused_and_the_others_are_added() -> None:
    failed, added = error_response("internal", 500), (200, {}, json.dumps(ADDED))
    with scripted_server(failed, added, failed, added) as server, Client(server.url, retries=QUICK) as client:
        result = client.onboard("a", [b"1", b"2", b"3"])
        assert [image.status for image in result.results] == ["added", "rejected", "added"]
        assert (result.results[1].reason, result.results[1].detail) == ("internal", "about internal")


def test_onboarding_stops_when_the_service_fails_on_several_images_in_a_row() -> None:
    failed = error_response("internal", 500)
    with scripted_server(failed) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(InternalError):
            client.onboard("a", [b"1", b"2", b"3", b"4", b"5"])
        assert len(server.requests) == 4


def test_every_attempt_of_a_detection_carries_the_same_key_and_the_whole_image(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(b"x" * 300_000)
    error = {"type": "/problems/image-rejected", "title": "t", "status": 422, "detail": "d"}
    detected = (200, {}, json.dumps({"version": 1, "results": [{"filename": "a", "error": error}]}))
    busy = error_response("queue-full", 503)
    with scripted_server(HANG_UP, busy, detected) as server, Client(server.url, retries=QUICK) as client:
        client.detect([path])
        client.detect([path])
        keys = [request.headers["idempotency-key"] for request in server.requests]
        assert keys[0] == keys[1] == keys[2] != keys[3]
        assert all(request.body.count(b"x" * 300_000) == 1 for request in server.requests)


def test_an_api_key_is_sent_as_a_bearer_token_and_not_shown() -> None:
    with scripted_server(LIVE) as server, Client(server.url, api_key="secret") as client:
        client.live()
        assert server.requests[0].headers["authorization"] == "Bearer secret"
        assert "secret" not in repr(client)


def test_no_response_in_time_is_a_failed_connection() -> None:
    with scripted_server(LIVE, delay=0.6) as server:
        impatient = Client(server.url, timeouts=Timeouts(read=0.1), retries=NO_RETRIES)
        with impatient, pytest.raises(ConnectionFailed, match="timed out"):
            impatient.live()

        async def live() -> None:
            async with AsyncClient(server.url, timeouts=Timeouts(total=0.1)) as client:
                with pytest.raises(ConnectionFailed, match=r"timed out|within"):
                    await client.live()

        asyncio.run(live())
    with Client(server.url, retries=QUICK) as client, pytest.raises(ConnectionFailed, match=r"GET .*/healthz"):
        client.live()
