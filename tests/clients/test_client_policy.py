"""The client against a server that fails as told: what is tried again, when, and what a caller is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.problems import TYPES
from tests.clients.scripted import Answer, scripted
from touchstone_client import (
    NO_RETRIES,
    AsyncClient,
    BadAnswer,
    Client,
    Conflict,
    InternalError,
    InvalidRequest,
    NoReferences,
    NotAllowed,
    NotFound,
    PictureRefused,
    Problem,
    Retries,
    StorageFull,
    Timeouts,
    TooLarge,
    TouchstoneError,
    Unavailable,
    Unreachable,
)
from touchstone_client.answers import Category
from touchstone_client.reading import read

LIVE = (200, {}, json.dumps({"status": "live"}))
HANG_UP = (0, {}, "")
DETECTED = (200, {}, json.dumps({"version": 1, "results": [{"filename": "a", "error": {
    "type": "/problems/image-refused", "title": "t", "status": 422, "detail": "d"}}]}))  # fmt: skip


def problem(kind: str, status: int, **headers: str) -> Answer:
    body = {"type": f"/problems/{kind}", "title": "t", "status": status, "detail": f"about {kind}", "request_id": "r"}
    return status, {"content-type": "application/problem+json", **headers}, json.dumps(body)


QUICK = Retries(attempts=4, first_wait=0.01)


def test_making_a_key_is_not_tried_again_since_there_might_be_two_then() -> None:
    with scripted(HANG_UP) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(Unreachable):
            client.create_key("press-4", "line")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "failure", [problem("busy", 503), problem("deadline-exceeded", 504), (502, {}, "bad gateway"), HANG_UP],
    ids=["busy", "deadline", "gateway", "broken connection"],
)  # fmt: skip
def test_a_passing_failure_is_tried_again(failure: Answer) -> None:
    with scripted(failure, failure, LIVE) as server, Client(server.url, retries=QUICK) as client:
        assert client.live().status == "live"
        assert len(server.asked) == 3

    async def the_same() -> None:
        with scripted(failure, LIVE) as server:
            async with AsyncClient(server.url, retries=QUICK) as client:
                assert (await client.live()).status == "live"
            assert len(server.asked) == 2

    asyncio.run(the_same())


@pytest.mark.parametrize("kind", ["invalid-request", "not-found", "conflict", "storage-full", "internal"])
def test_a_lasting_failure_is_not_tried_again(kind: str) -> None:
    status = {"invalid-request": 422, "not-found": 404, "conflict": 409, "storage-full": 507, "internal": 500}[kind]
    with scripted(problem(kind, status)) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(Problem, match=f"about {kind}"):
            client.live()
        assert len(server.asked) == 1


def test_the_wait_is_never_shorter_than_the_service_asks_for() -> None:
    busy = problem("busy", 503, **{"Retry-After": "1"})
    with scripted(busy, LIVE) as server, Client(server.url, retries=QUICK) as client:
        client.live()
        assert server.asked[1][0] - server.asked[0][0] >= 1.0


def test_a_wait_beyond_the_calls_own_time_is_not_begun() -> None:
    busy = problem("busy", 503, **{"Retry-After": "30"})
    with scripted(busy) as server, Client(server.url, retries=QUICK, timeouts=Timeouts(total=5)) as client:
        with pytest.raises(Unavailable) as raised:
            client.live()
        assert raised.value.retry_after == 30
        assert len(server.asked) == 1


@pytest.mark.parametrize("asked", ["61", "86400", "9" * 400, "Wed, 21 Oct 2065 07:28:00 GMT"])
def test_a_wait_that_nobody_would_sit_out_is_not_begun(asked: str) -> None:
    busy = problem("busy", 503, **{"Retry-After": asked, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"})
    with scripted(busy, LIVE) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(Unavailable) as raised:
            client.live()
        assert (raised.value.retry_after or 0) > 60
        assert len(server.asked) == 1

    async def the_same() -> None:
        with scripted(busy, LIVE) as server:
            async with AsyncClient(server.url, retries=QUICK) as client:
                with pytest.raises(Unavailable):
                    await client.live()

    asyncio.run(the_same())


def test_a_time_to_come_back_is_by_the_clock_of_who_says_it() -> None:
    at = {"Retry-After": "Wed, 21 Oct 2015 07:28:01 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with scripted(problem("busy", 503, **at), LIVE) as server, Client(server.url, retries=QUICK) as client:
        client.live()
        assert server.asked[1][0] - server.asked[0][0] >= 1.0


@pytest.mark.parametrize("asked", ["soon", "-1", "\u00b2", "1e9", "Wed, 99 Oct 2015"])
def test_a_wait_that_says_nothing_is_left_to_the_client(asked: str) -> None:
    with (
        scripted(problem("busy", 503, **{"Retry-After": asked}), LIVE) as server,
        Client(server.url, retries=QUICK) as client,
    ):
        assert client.live().status == "live"


def test_a_picture_that_the_service_fails_on_does_not_keep_the_others_out() -> None:
    added = {
        "category": "a",
        "version": 1,
        "added": 1,
        "duplicates": 0,
        "refused": 0,
        "outliers_need": None,
        "results": [{"filename": "x", "status": "added", "reference_id": 1}],
        "calibration": {"state": "resting", "references": 0, "references_needed": 99},
    }
    failed, one = problem("internal", 500), (200, {}, json.dumps(added))
    with scripted(failed, one, failed, one) as server, Client(server.url, retries=QUICK) as client:
        done = client.onboard("a", [b"1", b"2", b"3"])
        assert [each.status for each in done.results] == ["added", "refused", "added"]
        assert (done.results[1].reason, done.results[1].detail) == ("internal", "about internal")
    with scripted(failed) as server, Client(server.url, retries=QUICK) as client:
        with pytest.raises(InternalError):
            client.onboard("a", [b"1", b"2", b"3", b"4", b"5"])
        assert len(server.asked) == 4


def test_every_try_of_a_detection_carries_one_key_and_the_whole_picture(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(b"x" * 300_000)
    with scripted(HANG_UP, problem("busy", 503), DETECTED) as server, Client(server.url, retries=QUICK) as client:
        client.detect([path])
        client.detect([path])
        keys = [headers["idempotency-key"] for _, _, headers, _ in server.asked]
        assert keys[0] == keys[1] == keys[2] != keys[3]
        assert all(body.count(b"x" * 300_000) == 1 for _, _, _, body in server.asked)


def test_an_access_key_is_sent_as_a_bearer_token() -> None:
    with scripted(LIVE) as server, Client(server.url, key="secret") as client:
        client.live()
        assert server.asked[0][2]["authorization"] == "Bearer secret"
        assert "secret" not in repr(client)


def test_no_answer_in_time_is_unreachable() -> None:
    with scripted(LIVE, delay=0.6) as server:
        impatient = Client(server.url, timeouts=Timeouts(read=0.1), retries=NO_RETRIES)
        with impatient, pytest.raises(Unreachable, match="no answer in time"):
            impatient.live()

        async def the_same() -> None:
            async with AsyncClient(server.url, timeouts=Timeouts(total=0.1)) as client:
                with pytest.raises(Unreachable, match=r"in time|within"):
                    await client.live()

        asyncio.run(the_same())
    with Client(server.url, retries=QUICK) as client, pytest.raises(Unreachable, match=r"GET .*/healthz"):
        client.live()


KINDS: list[tuple[str, int, type[TouchstoneError]]] = [
    ("invalid-request", 422, InvalidRequest), ("method-not-allowed", 405, InvalidRequest),
    ("image-refused", 422, PictureRefused), ("image-too-large", 413, PictureRefused),
    ("unsupported-format", 415, PictureRefused), ("request-too-large", 413, TooLarge), ("not-found", 404, NotFound),
    ("no-references", 409, NoReferences), ("conflict", 409, Conflict), ("busy", 503, Unavailable),
    ("not-ready", 503, Unavailable), ("deadline-exceeded", 504, Unavailable), ("storage-full", 507, StorageFull),
    ("internal", 500, InternalError), ("unauthenticated", 401, NotAllowed), ("forbidden", 403, NotAllowed),
    ("rate-limited", 429, Unavailable), ("request-timeout", 408, Unavailable),
    ("malformed-request", 400, InvalidRequest), ("headers-too-large", 431, InvalidRequest),
    ("too-many-connections", 503, Unavailable), ("something-of-tomorrow", 418, InvalidRequest),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status", "raised"), KINDS, ids=[kind for kind, _, _ in KINDS])
def test_every_problem_has_its_exception(kind: str, status: int, raised: type[TouchstoneError]) -> None:
    with scripted(problem(kind, status)) as server, Client(server.url, retries=NO_RETRIES) as client:
        with pytest.raises(raised) as caught:
            client.live()
        assert type(caught.value) is raised
        assert caught.value.details.request_id == "r"  # type: ignore[attr-defined]


def test_no_problem_of_the_service_was_forgotten() -> None:
    by_status = {status for _, status, _ in KINDS}
    for kind, (status, _) in TYPES.items():
        assert kind in {known for known, _, _ in KINDS} or status in by_status, kind


@pytest.mark.parametrize("text", ["", "<html>", "[1]", '{"status": 3}', "{}"])
def test_an_answer_that_is_none_of_the_services_is_a_bad_answer(text: str) -> None:
    with scripted((200, {}, text)) as server, Client(server.url) as client, pytest.raises(BadAnswer):
        client.live()


def test_fields_of_a_newer_service_are_passed_over() -> None:
    value = {
        "name": "a", "references": 1, "created": "2026-01-01T00:00:00Z", "tomorrow": [1],
        "settings": {"k": 1, "rho": 1, "layer_weights": [1, 2], "false_reject_rate": 0.01, "threshold": None, "x": {}},
        "calibration": {"state": "resting", "references": 0, "references_needed": 99},
    }  # fmt: skip
    found = read(Category, value)
    assert found.settings.layer_weights == (1.0, 2.0)
    assert found.created.tzinfo is not None
    with pytest.raises(BadAnswer, match="created"):
        read(Category, {**value, "created": "yesterday"})
    with pytest.raises(BadAnswer, match="lacks calibration"):
        read(Category, {name: each for name, each in value.items() if name != "calibration"})


def test_an_address_that_is_none_is_refused_at_once() -> None:
    make: list[Callable[[str], object]] = [Client, AsyncClient]
    for each in make:
        with pytest.raises(ValueError, match="address of a service"):
            each("localhost:8000")
