"""A detection sent twice under one key is inspected once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.testclient import TestClient

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from service.auth import Role, generate_api_key
from tests.helpers.http_service import check_problem, files, onboard
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess


def station(name: str) -> dict[str, str]:
    return {"station": name, "part_id": "7"}


def count(client: TestClient, name: str) -> int:
    return len(client.get("/inspections", params={"station": name}).json()["inspections"])


def test_a_repeated_key_answers_what_was_recorded(taught: TestClient) -> None:
    def send(key: str | None, *images: bytes) -> list[dict[str, object]]:
        headers = {} if key is None else {"Idempotency-Key": key}
        response = taught.post("/detect", data=station("twice"), files=files(*images), headers=headers)
        assert response.status_code == 200, response.text
        results: list[dict[str, object]] = response.json()["results"]
        return results

    first = send("part-7", part(1), b"no image", part(2, scratched=True))
    repeated = send("part-7", part(1), b"no image", part(2, scratched=True))
    assert [result.get("id") for result in repeated] == [result.get("id") for result in first]
    assert first[0] == repeated[0]
    assert (first[2], first[1]["filename"]) == (repeated[2], repeated[1]["filename"])
    assert count(taught, "twice") == 2
    assert send("part-8", part(1))[0]["id"] not in {result.get("id") for result in first}
    assert send(None, part(1))[0]["id"] != send(None, part(1))[0]["id"]
    assert count(taught, "twice") == 5


def test_a_repeated_key_answers_what_was_recorded_when_the_category_is_gone(client: TestClient) -> None:
    onboard(client, "disc", part(1), part(2))

    def send() -> tuple[object, ...]:
        data, headers = {"category": "disc"}, {"Idempotency-Key": "part-7"}
        response = client.post("/detect", data=data, files=files(part(3)), headers=headers)
        assert response.status_code == 200, response.text
        [result] = response.json()["results"]
        return result["id"], result["at"], result["score"]

    first = send()
    client.delete("/categories/disc").raise_for_status()
    assert send() == first
    check_problem(client.post("/detect", data={"category": "disc"}, files=files(part(3))), 404, "not-found")


def test_one_key_sent_many_times_at_once_is_recorded_once(taught: TestClient) -> None:
    def send(_: int) -> str:
        response = taught.post(
            "/detect", data=station("race"), files=files(part(3)), headers={"Idempotency-Key": "race"}
        )
        assert response.status_code == 200, response.text
        inspection_id: str = response.json()["results"][0]["id"]
        return inspection_id

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(send, range(12)))) == 1
    assert count(taught, "race") == 1


def test_a_key_with_other_content_is_refused_and_nothing_is_inspected(taught: TestClient) -> None:
    first = {"category": "disc", **station("keyed")}

    def send(*images: bytes, **fields: str):  # type: ignore[no-untyped-def]
        headers = {"Idempotency-Key": "mine"}
        return taught.post("/detect", data={**first, **fields}, files=files(*images), headers=headers)

    assert send(b"no image", part(1)).status_code == 200  # nothing is recorded of its first image
    others = [
        send(b"no image", part(2)),
        send(part(1)),
        send(part(1), b"no image"),
        send(b"no image", part(1), part(1)),
        *(
            send(b"no image", part(1), **fields)
            for fields in (
                {"category": "plate"},
                {"part_id": "8"},
                {"station": "another"},
                {"min_version": "1"},
                {"map": "png"},
                {"overlay": "true"},
            )
        ),
    ]
    for other in others:
        check_problem(other, 422, "idempotency-key-reused")
    assert count(taught, "keyed") == 1
    assert count(taught, "another") == 0
    assert send(b"no image", part(1)).status_code == 200
    long = taught.post("/detect", files=files(part(1)), headers={"Idempotency-Key": "x" * 129})
    check_problem(long, 422, "invalid-request")


def test_other_content_at_the_same_moment_is_refused_too(taught: TestClient) -> None:
    def send(seed: int):  # type: ignore[no-untyped-def]
        headers = {"Idempotency-Key": "crowded"}
        return taught.post("/detect", data=station("crowd"), files=files(part(seed % 3)), headers=headers)

    with ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(send, range(12)))
    assert sorted(response.status_code for response in responses) == [200] * 4 + [422] * 8
    assert len({response.json()["results"][0]["id"] for response in responses if response.status_code == 200}) == 1
    assert count(taught, "crowd") == 1


def test_a_key_belongs_to_the_client_that_sends_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    keys = [generate_api_key(name, Role.ENGINEER) for name in ("one", "two")]
    with ServerProcess(data, ACCESS="keys") as server:
        server.wait_until_live()
        catalogue = Catalogue.open(DataFolder.existing(data).database)
        for key in keys:
            catalogue.api_keys.create(key.key)
        catalogue.close()
        one, other = ({"Authorization": f"Bearer {key.token}", "Idempotency-Key": "serial 1"} for key in keys)

        def send(seed: int, headers: dict[str, str]):  # type: ignore[no-untyped-def]
            return server.client.post("/detect", files=files(part(seed)), headers=headers)

        taught = server.client.post(
            "/references", data={"category": "disc"}, files=files(part(1), part(2)), headers=one
        )
        assert taught.status_code == 200, taught.text
        first, second = (send(*request).json()["results"][0] for request in ((3, one), (4, other)))
        assert (first["id"], first["score"]) != (second["id"], second["score"])
        assert send(3, one).json()["results"][0] == first
        check_problem(send(3, other), 422, "idempotency-key-reused")
