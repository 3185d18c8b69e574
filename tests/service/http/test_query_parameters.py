"""Undeclared parameters are refused; HEAD works wherever GET does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.testclient import TestClient

from tests.helpers.console_files import console_file
from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

PAGES = ["/", "/docs", "/openapi.json"]
CHANGING = ("/readyz", "/metrics", "/inspections/report")  # another length with each request: times and counts


def operations(client: TestClient | httpx.Client) -> list[tuple[str, str, set[str]]]:
    """Method, path and query parameters of every operation of the API; path parameters have a value."""
    described = []
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            parameters = operation.get("parameters", ())
            query = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
            inside = path.replace("{name}", "disc")
            for identifier in ("reference_id", "inspection_id", "key_id"):
                inside = inside.replace(f"{{{identifier}}}", "1")
            described.append((method.upper(), inside, query))
    return described


def test_no_route_ignores_a_query_parameter_that_it_does_not_know(taught: TestClient) -> None:
    before = taught.get("/version").json()["version"]
    for method, path, known in operations(taught):
        for query in ("nonsense=1", "nonsense", "category=plate&station=y", "%E2%82%AC=", "limit=1&nonsense=2"):
            if {pair.partition("=")[0] for pair in query.split("&")} <= known:
                continue
            response = taught.request(method, f"{path}?{query}")
            assert response.status_code == 422, (method, path, query, response.text)
            assert response.json()["type"] == "/problems/invalid-request"
            assert "query parameter" in response.json()["detail"]
    assert taught.get("/version").json()["version"] == before


def test_a_detection_with_its_fields_in_the_query_is_refused(taught: TestClient) -> None:
    response = taught.post("/detect?category=plate&station=press-4", files=files(part(1)))
    assert response.status_code == 422
    assert response.json()["detail"] == "Unknown query parameter 'category': this route has none."


def test_a_query_parameter_is_given_once(taught: TestClient) -> None:
    for method, path, known in operations(taught):
        for name in known:
            response = taught.request(method, f"{path}?{name}=1&{name}=1")
            assert response.status_code == 422, (method, path, name)
            assert "more than once" in response.json()["detail"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a reference and an inspection."""
    with ServerProcess(tmp_path_factory.mktemp("head") / "data").wait_until_live() as running:
        running.teach("disc", part(1))
        assert running.client.post("/detect", files=files(part(2))).status_code == 200
        yield running


def test_head_is_answered_wherever_get_is(server: ServerProcess) -> None:
    [inspection] = server.client.get("/inspections").json()["inspections"]
    paths = [path for method, path, _ in operations(server.client) if method == "GET"]
    paths = [path.replace("/inspections/1", f"/inspections/{inspection['id']}") for path in paths]
    for path in [
        *paths,
        *PAGES,
        console_file(server.client, "main.js"),
        "/inspections?format=csv",
        "/categories/nothing",
        "/references?limit=0",
    ]:
        head = server.client.head(path)
        if path == "/inspections/stream":
            assert head.headers["content-type"].startswith("text/event-stream")
            continue
        get = server.client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path
        assert head.headers.keys() == get.headers.keys(), path
        if path not in CHANGING:
            assert head.headers.get("content-length") == get.headers.get("content-length"), path


def test_a_large_upload_that_is_refused_for_its_query_sees_why(server: ServerProcess) -> None:
    response = server.client.post("/detect?category=disc", files=files(bytes(8 << 20)))
    assert response.status_code == 422
    assert "query parameter" in response.json()["detail"]
    assert server.client.post("/detect", files=files(part(3))).status_code == 200


def test_head_needs_the_same_key_and_is_not_allowed_where_there_is_no_get(server: ServerProcess) -> None:
    refused = server.client.head("/detect")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")
    assert "HEAD" in server.client.put("/references").headers["allow"]


def test_a_stream_that_was_asked_for_its_head_ends(server: ServerProcess) -> None:
    for _ in range(20):
        assert server.client.head("/inspections/stream").status_code == 200
    end = time.monotonic() + 10
    while 'method="HEAD",route="/inspections/stream"' not in server.client.get("/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_description_names_every_bound_as_json_schema_does(client: TestClient) -> None:
    assert not re.search(r'"[gl][te]":', client.get("/openapi.json").text)
