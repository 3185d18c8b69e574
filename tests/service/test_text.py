"""The rule for text: violations are refused as documented, on both kinds of database, by every route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from indexer.text import CATEGORY_NAME, PLAIN
from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

BAD = {"NUL": "a\0", "C1 control": "a\x85", "line separator": "a\u2028", "too long": "x" * 129}
NOT_UTF8 = "%FF"
FREE = (PLAIN, CATEGORY_NAME)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server on either kind of database, which knows one category."""
    data = tmp_path_factory.mktemp("text") / "data"
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database(migrated=True)
    with ServerProcess(data, DATABASE_URL=url).wait_until_live() as server:
        server.teach("disc", part(1))
        yield server.client


def count(service: httpx.Client, what: str) -> int:
    """How many inspections or references there are."""
    return len(service.get(f"/{what}", params={"limit": 1000}).json()[what])


def schema(described: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A schema with its reference followed, and of alternatives the one that is no null."""
    if "$ref" in given:
        return schema(described, described["components"]["schemas"][given["$ref"].rpartition("/")[2]])
    chosen = [alternative for alternative in given.get("anyOf", ()) if alternative.get("type") != "null"]
    return schema(described, chosen[0]) if chosen else given


def free_text(described: dict[str, Any]) -> Iterator[tuple[str, str, str, str, dict[str, Any]]]:
    """Method, path, where, name and schema of every text that a route takes and that is no choice of a few.

    What a browser brings back from an identity provider is left out: it goes to the provider, and none of it is kept.
    """
    for path, methods in described["paths"].items():
        if path in ("/session", "/sign-in/start"):
            continue
        for method, operation in methods.items():
            taken = [
                (parameter["in"], parameter["name"], parameter["schema"])
                for parameter in operation.get("parameters", ())
            ]
            for media, body in operation.get("requestBody", {}).get("content", {}).items():
                where = "json" if media == "application/json" else "form"
                properties = schema(described, body["schema"])["properties"]
                taken += [(where, name, parameter) for name, parameter in properties.items()]
            for where, name, parameter in taken:
                resolved = schema(described, parameter)
                if resolved.get("type") == "string" and not {"enum", "format", "const"} & resolved.keys():
                    yield method, path, where, name, resolved


def test_every_text_that_a_route_takes_is_described_by_the_rule(service: httpx.Client) -> None:
    texts = list(free_text(service.get("/openapi.json").json()))
    assert len(texts) > 25
    for method, path, where, name, described in texts:
        if (where, name) == ("form", "refuse"):  # a list of a few choices, written as text
            continue
        assert described.get("pattern") in FREE, (method, path, where, name)
        assert described.get("maxLength") == (1000 if name == "comment" else 128), (method, path, where, name)


@pytest.mark.parametrize("bad", BAD)
def test_text_that_breaks_the_rule_is_refused_wherever_it_enters(service: httpx.Client, bad: str) -> None:
    described, text = service.get("/openapi.json").json(), BAD[bad]
    before = count(service, "inspections"), count(service, "references")
    for method, path, where, name, _ in free_text(described):
        url, query = path, {name: text} if where == "query" else {}
        for parameter in ("name", "inspection_id", "key_id", "reference_id"):
            inside = "".join(f"%{byte:02X}" for byte in text.encode()) if (where, name) == ("path", parameter) else "1"
            url = url.replace(f"{{{parameter}}}", inside)
        body: dict[str, Any] = {}
        if where == "json":
            body["json"] = {"name": "k", "role": "line", "label": "good"} | {name: text}
        elif path == "/keys" and method == "post":
            continue
        elif (method, path) in (("post", "/detect"), ("post", "/references")):
            body = {"data": {"category": "disc"} | ({name: text} if where == "form" else {}), "files": files(part(2))}
        elif method == "put":
            body = {"files": files(part(2))}
        elif method in ("post", "patch"):
            body["json"] = {"label": "good"} if path.endswith("feedback") else {}
        headers = {}
        if where == "header":
            if "\0" in text:
                continue  # no server takes a header with it
            headers[name] = text.encode()
        response = service.request(method, url, params=query, headers=headers, **body)
        assert response.status_code == 422, (method, path, where, name, response.text)
        assert response.json()["type"] == "/problems/invalid-request"
    assert (count(service, "inspections"), count(service, "references")) == before


def test_a_path_or_a_query_that_is_not_utf8_is_refused(service: httpx.Client) -> None:
    for url in (f"/categories/{NOT_UTF8}", f"/inspections/{NOT_UTF8}", f"/references?category={NOT_UTF8}"):
        response = service.get(url)
        assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
        assert "not UTF-8" in response.json()["detail"]


@pytest.mark.parametrize("name", [b"part_id", b"category", b"p\xff"])
def test_a_form_field_that_is_not_utf8_is_refused_and_nothing_of_the_request_is_done(
    service: httpx.Client, name: bytes
) -> None:
    before = count(service, "inspections")
    for charset in ("", "; charset=iso-8859-1", '; charset="latin1'):
        response = service.post(
            "/detect",
            content=body((name, None, b"teil_\xe4"), (b"images", b"a.png", part(2))),
            headers={"content-type": f"multipart/form-data; boundary=x{charset}"},
        )
        assert response.status_code == 422, response.text
        assert response.json()["type"] == "/problems/invalid-request"
    assert count(service, "inspections") == before


@pytest.mark.parametrize("path", ["/categories/disc", "/keys", "/inspections/1/feedback", "/categories/disc/preview"])
def test_surrogates_and_bytes_that_are_not_utf8_in_json_are_refused(service: httpx.Client, path: str) -> None:
    method = "PATCH" if path == "/categories/disc" else "POST"
    for content in (
        b'{"\\ud800": 1}',
        b'{"name": "\\udcff", "role": "line"}',
        b'{"label": "\\ud83d"}',
        b'{"refuse": ["\\ud83d"]}',
        b'{"name": "\xff", "role": "line"}',
        b'"\\ud800"',
    ):
        response = service.request(method, path, content=content, headers={"content-type": "application/json"})
        assert response.status_code == 422, (content, response.text)
        assert response.json()["type"] == "/problems/invalid-request"


@pytest.mark.parametrize("path", ["/detect", "/references"])
def test_a_file_whose_name_breaks_the_rule_is_refused_alone(service: httpx.Client, path: str) -> None:
    names = [b"teil_\xe4.png", b"a\x00.png", b"a\xc2\x85.png", b"x" * 256, "größe.png".encode()]
    parts = [(b"images", name, part(index + 10)) for index, name in enumerate(names)]
    response = service.post(
        path,
        content=body((b"category", None, b"disc"), *parts),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert response.status_code == 200, response.text
    *refused, taken = response.json()["results"]
    for result in refused:
        reason = result["error"]["reason"] if path == "/detect" else result["reason"]
        assert reason == "bad-name"
        assert result["filename"].isprintable()
        assert len(result["filename"]) <= 255
    assert taken["filename"] == "größe.png"
    alone = service.post(
        path,
        content=body((b"category", None, b"disc"), parts[0]),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert alone.status_code == 422
    assert (alone.json()["type"], alone.json()["reason"]) == ("/problems/image-rejected", "bad-name")


def test_names_are_kept_and_found_in_one_form(service: httpx.Client) -> None:
    typed, composed = "Pru\u0308fplatz", "Prüfplatz"
    onboarded = service.post("/references", data={"category": typed}, files=files(part(20)))
    assert onboarded.json()["category"] == composed
    assert service.get(f"/categories/{composed}").json()["name"] == composed
    assert service.get(f"/categories/{typed}").json()["name"] == composed
    sent = {"category": typed, "part_id": typed, "station": typed}
    detected = service.post("/detect", data=sent, files=[("images", (f"{typed}.png", part(21), "image/png"))])
    [result] = detected.json()["results"]
    assert [result[field] for field in ("category", "part_id", "station")] == [composed] * 3
    assert result["filename"] == f"{composed}.png"
    for name in ("category", "part_id", "station", "text"):
        assert len(service.get("/inspections", params={name: typed}).json()["inspections"]) == 1, name
    assert service.post("/keys", json={"name": typed, "role": "line"}).json()["name"] == composed


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"filename*=UTF-8''gr%C3%B6%C3%9Fe.png", "größe.png"),
        (b"filename*=utf-8'de'gr%C3%B6%C3%9Fe.png", "größe.png"),
        (b"filename*=iso-8859-1''gr%F6%DFe.png", "größe.png"),
        (b"filename=\"=?utf-8?B?Z3LDtsOfZS5wbmc=?=\"; filename*=utf-8''gr%C3%B6%C3%9Fe.png", "größe.png"),
        (b"filename*=utf-8''gr%C3%B6%C3%9Fe.png; filename=\"other.png\"", "größe.png"),
        (b"filename*=utf-8''a%22%5Cb.png", 'a"\\b.png'),
        ("filename=größe.png".encode(), "größe.png"),
    ],
)
def test_file_names_are_read_in_either_way_of_writing_them(taught: TestClient, disposition: bytes, name: str) -> None:
    content = b'--x\r\nContent-Disposition: form-data; name="images"; ' + disposition + b"\r\n\r\n" + part(1)
    response = taught.post(
        "/detect", content=content + b"\r\n--x--\r\n", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert response.status_code == 200, response.text
    assert response.json()["results"][0]["filename"] == name


def test_an_image_without_a_file_name_is_refused_with_the_reason(taught: TestClient) -> None:
    response = taught.post(
        "/detect", content=body((b"images", None, b"x")), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert response.status_code == 422
    assert "has no file name" in response.json()["detail"]


def body(*parts: tuple[bytes, bytes | None, bytes]) -> bytes:
    """A multipart body of (name, file name, content), byte for byte; the boundary is x."""
    made = b""
    for name, filename, content in parts:
        named = b"" if filename is None else b'; filename="%s"' % filename
        made += b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, named, content)
    return made + b"--x--\r\n"


def test_answers_are_json_whatever_was_sent(service: httpx.Client) -> None:
    response = service.post("/detect?\ud83d".encode(errors="surrogatepass").decode("latin-1"), files=files(part(1)))
    assert response.status_code == 422
    json.loads(response.content.decode())
