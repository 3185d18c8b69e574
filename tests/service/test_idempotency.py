"""A detection sent twice under one key is inspected once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from starlette.testclient import TestClient

from tests.service.conftest import files
from tests.service.pictures import part
from tests.service.test_problems import check_problem


def station(name: str) -> dict[str, str]:
    return {"station": name, "part_id": "7"}


def count(client: TestClient, name: str) -> int:
    return len(client.get("/inspections", params={"station": name}).json()["inspections"])


def test_a_repeated_key_answers_what_was_recorded(taught: TestClient) -> None:
    def send(key: str | None, *pictures: bytes) -> list[dict[str, object]]:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = taught.post("/detect", data=station("twice"), files=files(*pictures), headers=headers)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, object]] = answer.json()["results"]
        return results

    first = send("part-7", part(1), b"no picture", part(2, scratched=True))
    again = send("part-7", part(1), b"no picture", part(2, scratched=True))
    assert [each.get("id") for each in again] == [each.get("id") for each in first]
    assert first[0] == again[0]
    assert (first[2], first[1]["filename"]) == (again[2], again[1]["filename"])
    assert count(taught, "twice") == 2
    assert send("part-8", part(1))[0]["id"] not in {each.get("id") for each in first}
    assert send(None, part(1))[0]["id"] != send(None, part(1))[0]["id"]
    assert count(taught, "twice") == 5


def test_one_key_sent_many_times_at_once_is_recorded_once(taught: TestClient) -> None:
    def send(_: int) -> str:
        answer = taught.post("/detect", data=station("race"), files=files(part(3)), headers={"Idempotency-Key": "race"})
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["results"][0]["id"]
        return found

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(send, range(12)))) == 1
    assert count(taught, "race") == 1


def test_a_key_of_another_request_is_refused(taught: TestClient) -> None:
    def send(seed: int, name: str):  # type: ignore[no-untyped-def]
        headers = {"Idempotency-Key": "mine"}
        return taught.post("/detect", data=station(name), files=files(part(seed)), headers=headers)

    assert send(1, "keyed").status_code == 200
    check_problem(send(2, "keyed"), 409, "conflict")
    check_problem(send(1, "another"), 409, "conflict")
    long = taught.post("/detect", files=files(part(1)), headers={"Idempotency-Key": "x" * 129})
    check_problem(long, 422, "invalid-request")
    assert count(taught, "keyed") == 1
