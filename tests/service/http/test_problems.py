"""Every bad request gets a problem with a stable type, and has no effect."""

from __future__ import annotations

import pytest
import torch
from starlette.testclient import TestClient

from indexer.memory.device_cache import DeviceCodeCache
from tests.helpers.bad_images import Case, bad_images
from tests.helpers.http_service import check_problem, files
from tests.helpers.part_images import part

STATUS = {
    "too-many-bytes": 413,
    "too-many-pixels": 413,
    "side-too-long": 413,
    "not-an-image": 415,
    "empty": 422,
    "too-small": 422,
    "several-frames": 422,
    "transparent": 422,
    "unsupported-depth": 422,
    "damaged": 422,
}


@pytest.mark.parametrize("case", bad_images(), ids=lambda case: case.name)
def test_every_image_of_the_corpus_is_answered_as_documented(taught: TestClient, case: Case) -> None:
    body = [("images", (case.filename, case.data, "application/octet-stream"))]
    before = taught.get("/version").json()["version"]
    response = taught.post("/detect", files=body)
    if case.reason is None:
        assert response.status_code == 200, response.text
        assert 0 <= response.json()["results"][0]["score"] <= 2
    else:
        status = STATUS[case.reason]
        kind = {413: "image-too-large", 415: "unsupported-format", 422: "image-rejected"}[status]
        assert check_problem(response, status, kind)["reason"] == case.reason
        refused = taught.post("/references", data={"category": "bad"}, files=body)
        check_problem(refused, status, kind)
    assert taught.get("/version").json()["version"] == before


def test_a_bad_image_fails_without_affecting_the_others(taught: TestClient) -> None:
    results = taught.post("/detect", files=files(part(1), b"no image", part(2))).json()["results"]
    assert [("error" in result) for result in results] == [False, True, False]
    assert results[1]["error"]["type"] == "/problems/unsupported-format"
    assert results[1]["filename"] == "1.png"


@pytest.mark.parametrize("path", ["/detect", "/references"])
def test_bodies_that_are_not_as_documented_are_refused(taught: TestClient, path: str) -> None:
    category = {"category": "disc"}
    bodies = {
        "empty": {},
        "json": {"json": {"images": []}},
        "no images": {"data": category, "files": [("station", (None, "x"))]},
        "wrong field for files": {"data": category, "files": [("image", ("a.png", part(1), "image/png"))]},
        "unknown field": {"data": {**category, "nonsense": "1"}, "files": files(part(1))},
        "field twice": {"files": [*files(part(1)), ("category", (None, "a")), ("category", (None, "b"))]},
        "image as text": {"data": {**category, "images": "abc"}, "files": files(part(1))},
        "category with a slash": {"data": {"category": "a/b"}, "files": files(part(1))},
        "category with a line break": {"data": {"category": "a\nb"}, "files": files(part(1))},
        "empty category": {"data": {"category": ""}, "files": files(part(1))},
        "long category": {"data": {"category": "x" * 129}, "files": files(part(1))},
        "broken multipart": {
            "content": b"--x\r\nContent-Disp",
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
        "no boundary": {"content": b"abc", "headers": {"content-type": "multipart/form-data"}},
    }
    before = taught.get("/categories").json()
    for name, body in bodies.items():
        response = taught.post(path, **body)  # type: ignore[arg-type]
        assert response.status_code == 422, f"{name}: {response.status_code} {response.text}"
        check_problem(response, 422, "invalid-request")
    assert taught.get("/categories").json() == before


def test_ten_thousand_files_are_refused(taught: TestClient) -> None:
    body = [("images", (f"{index}.png", b"x", "image/png")) for index in range(10_000)]
    check_problem(taught.post("/detect", files=body), 413, "request-too-large")


def test_a_second_image_is_refused_where_one_fits(taught: TestClient) -> None:
    refused = taught.put("/categories/disc/region-of-interest", files=files(part(1), part(2)))
    check_problem(refused, 413, "request-too-large")
    assert refused.json()["detail"] == "Only one image fits in one request: send the others in another."


def test_a_body_over_the_limit_is_refused_by_its_length_and_without_one(taught: TestClient) -> None:
    huge = taught.app.state.app_state.settings.max_request_bytes + 1  # type: ignore[attr-defined]
    declared = taught.post("/detect", content=b"x", headers={"content-length": str(huge)})
    check_problem(declared, 413, "request-too-large")

    def pieces():  # type: ignore[no-untyped-def]
        yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(huge // (8 << 20) + 1):
            yield bytes(8 << 20)

    streamed = taught.post("/detect", content=pieces(), headers={"content-type": "multipart/form-data; boundary=x"})
    check_problem(streamed, 413, "request-too-large")


def test_out_of_gpu_memory_is_a_problem_and_detection_resumes_afterwards(taught: TestClient) -> None:
    engine = taught.app.state.app_state.engine  # type: ignore[attr-defined]
    codes, engine.codes = engine.codes, DeviceCodeCache(torch.device("cpu"), 7)  # seven bytes
    try:
        response = taught.post("/detect", files=files(part(1)))
        assert check_problem(response, 503, "device-memory-full")
        assert response.headers["retry-after"]
    finally:
        engine.codes = codes
    assert taught.post("/detect", files=files(part(1))).status_code == 200


def test_there_is_no_score_without_references(client: TestClient) -> None:
    check_problem(client.post("/detect", files=files(part(1))), 409, "no-references")
    check_problem(client.post("/detect", data={"category": "nut"}, files=files(part(1))), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/references/999999", 404, "not-found"),
        ("GET", "/references/999999/image", 404, "not-found"),
        ("DELETE", "/references/999999", 404, "not-found"),
        ("GET", "/references/abc", 404, "not-found"),
        ("GET", "/references/abc/image", 404, "not-found"),
        ("GET", "/references/remove", 405, "method-not-allowed"),
        ("GET", "/references/9223372036854775808", 422, "invalid-request"),
        ("GET", "/references?limit=0", 422, "invalid-request"),
        ("GET", "/references?cursor=%00", 422, "invalid-request"),
        ("GET", "/categories/nope", 404, "not-found"),
        ("PATCH", "/categories/nope", 404, "not-found"),
        ("DELETE", "/categories/nope", 404, "not-found"),
        ("GET", "/inspections/nope", 404, "not-found"),
        ("GET", "/inspections/nope/map.png", 404, "not-found"),
        ("GET", "/inspections/..%2F..%2Fetc%2Fpasswd/map.png", 404, "not-found"),
        ("GET", "/inspections?cursor=abc", 422, "invalid-request"),
        ("GET", "/inspections?since=yesterday", 422, "invalid-request"),
        ("GET", "/inspections?until=0.5", 422, "invalid-request"),
        ("GET", "/inspections?until=-86400", 422, "invalid-request"),
        ("GET", "/inspections?verdict=fine", 422, "invalid-request"),
        ("GET", "/inspections?format=xml", 422, "invalid-request"),
        ("POST", "/inspections/nope/feedback", 404, "not-found"),
        ("PUT", "/detect", 405, "method-not-allowed"),
        ("GET", "/detect", 405, "method-not-allowed"),
    ],
)
def test_paths_and_parameters_that_do_not_exist(
    taught: TestClient, method: str, path: str, status: int, kind: str
) -> None:
    body = {"PATCH": {"k": 3}, "POST": {"label": "good"}}.get(method)
    check_problem(taught.request(method, path, json=body), status, kind)


def test_405_lists_all_allowed_methods(taught: TestClient) -> None:
    assert taught.put("/references").headers["allow"] == "GET, HEAD, POST"
    assert taught.post("/categories/disc").headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert taught.options("/references/remove").headers["allow"] == "POST"


def test_a_request_id_is_taken_when_it_is_sane_and_made_otherwise(taught: TestClient) -> None:
    assert taught.get("/healthz", headers={"X-Request-ID": "line-4.17"}).headers["x-request-id"] == "line-4.17"
    for bad in ("", "a b", "x" * 65, "<script>"):
        made = taught.get("/nowhere", headers={"X-Request-ID": bad})
        assert made.headers["x-request-id"] != bad
        assert len(made.json()["request_id"]) == 32
