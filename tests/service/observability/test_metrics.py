"""Metrics, log lines and traces."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.observability import logs
from service.observability.metrics import OTHER, Metrics
from service.state import AppState
from tests.helpers.http_service import files, onboard, settings
from tests.helpers.metrics import scrape, value
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from tests.helpers.trace_collector import collector


def test_metrics_count_what_happened(taught: TestClient) -> None:
    before = scrape(taught)
    detected = taught.post("/detect", files=files(part(1000), part(1001, scratched=True), b"no image")).json()
    taught.post("/references", data={"category": "disc"}, files=files(part(0)))
    taught.get("/nowhere/at/all")
    after = scrape(taught)

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    verdicts = [result["verdict"] for result in detected["results"][:2]]
    for verdict in set(verdicts):
        assert grew("verdicts_total", category="disc", verdict=verdict) == verdicts.count(verdict)
    assert grew("p_value_count", category="disc") == 2
    assert grew("p_value_sum", category="disc") == pytest.approx(sum(r["p_value"] for r in detected["results"][:2]))
    assert grew("rejected_images_total", reason="not-an-image") == 1
    assert grew("problems_total", type="unsupported-format") == 1
    assert grew("problems_total", type="not-found") == 1
    assert grew("onboarded_images_total", outcome="duplicate") == 1
    assert grew("requests_total", method="POST", route="/detect", status="200") == 1
    assert grew("requests_total", method="GET", route="unmatched", status="404") == 1
    assert grew("batch_images_sum", queue="detect") == 2
    parts = {"decode": ("read", "prepare", "thumbnail"), "search": ("retrieve", "patches", "score")}
    parts["record"] = ("map", "files", "catalogue")
    for stage, images in {
        "receive": 1,
        "decode_queue": 4,
        "decode": 3,
        "queue": 2,
        "encode": 2,
        "search": 2,
        "record": 1,
    }.items():
        assert grew("stage_seconds_count", stage=stage) == images
        assert all(grew("stage_seconds_count", stage=part) == images for part in parts.get(stage, ()))
        if stage in parts:
            spent = sum(grew("stage_seconds_sum", stage=part) for part in parts[stage])
            assert 0 < spent <= grew("stage_seconds_sum", stage=stage) + 0.001
    assert value(after, "index_version") == detected["version"]
    assert value(after, "references") == 30
    assert value(after, "memory_bytes") > 0
    assert value(after, "disk_free_bytes") > 0


def test_the_queue_tells_its_depth_and_age(client: TestClient) -> None:
    worker = client.app.state.app_state.worker  # type: ignore[attr-defined]
    held, hold = threading.Event(), threading.Event()

    def block(_: object) -> None:
        held.set()
        hold.wait(30)

    worker.submit_screening(block)  # a line that nothing in the background uses
    assert held.wait(30)
    worker.submit_screening(lambda _: None)
    waiting = scrape(client)
    hold.set()
    assert value(waiting, "queue_depth", queue="onboard") == 1
    assert value(waiting, "queue_age_seconds", queue="onboard") > 0
    assert value(waiting, "queue_depth", queue="detect") == 0


def test_categories_beyond_the_most_share_one_label() -> None:
    metrics = Metrics(max_categories=5)
    for index in range(300):
        metrics.inspected(f"part {index}", "normal", 0.5)
    metrics.inspected("part 3", "normal", 0.5)
    families = {family.name: family for family in metrics.registry.collect()}
    counted = {
        sample.labels["category"]: sample.value
        for sample in families["touchstone_verdicts"].samples
        if sample.name == "touchstone_verdicts_total"
    }
    assert counted == {"part 0": 1, "part 1": 1, "part 2": 1, "part 3": 2, "part 4": 1, OTHER: 295}


def test_every_line_of_a_servers_log_is_json_and_a_request_is_found_by_its_id(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data").wait_until_live() as server:
        sent = server.client.post("/detect?token=hidden", headers={"X-Request-ID": "line-7"}, files=files(part(1)))
        server.client.get("/healthz")
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    [entry] = [line for line in lines if line.get("request_id") == "line-7"]
    assert entry["status"] == sent.status_code == 422
    assert (entry["method"], entry["path"], entry["problem"]) == ("POST", "/detect", "invalid-request")
    assert entry["ms"] > 0
    assert not [line for line in lines if line.get("path") == "/healthz"]
    assert "hidden" not in server.log.read_text()


def test_a_log_record_stays_on_one_line_with_its_exception_and_request() -> None:
    token = logs.request_id.set("abc")
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        trace = (type(error), error, error.__traceback__)
        record = logging.LogRecord("touchstone", logging.ERROR, "file", 1, "failed: %s", ("a\nb",), trace)
    finally:
        line = logs.JsonLines().format(record)
        text = logs.PlainText().format(record)
        logs.request_id.reset(token)
    assert "\n" not in line
    read = json.loads(line)
    assert (read["message"], read["level"], read["request_id"]) == ("failed: a\nb", "ERROR", "abc")
    assert "ValueError: broken" in read["exception"]
    assert "error   failed: a" in text
    assert "request_id=abc" in text


def test_plain_text_is_a_setting(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", LOG_FORMAT="text").wait_until_live() as server:
        server.client.get("/nowhere")
        server.stop()
        assert " info    request request_id=" in server.log.read_text()


def test_a_detection_is_one_trace_of_its_stages_below_the_callers_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there, and nobody is to be asked
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    caller = "4bf92f3577b34da6a3ce929d0e0e4736"
    with collector() as (endpoint, received):
        running = AppState.start(settings(tmp_path, traces_endpoint=endpoint, max_batch_delay_ms=1000))
        with TestClient(create_app(running), base_url="http://localhost") as client:
            onboard(client, "disc", part(1), part(2))
            headers = {"traceparent": f"00-{caller}-00f067aa0ba902b7-01", "X-Request-ID": "line-9"}
            assert client.post("/detect", files=files(part(3), part(4)), headers=headers).status_code == 200
    slack = 2_000_000  # nanoseconds that two clocks may differ by
    spans = [
        span
        for request in received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == caller
    ]
    [whole] = [span for span in spans if span.name == "POST /detect"]
    assert whole.parent_span_id.hex() == "00f067aa0ba902b7"
    told = {attribute.key: attribute.value for attribute in whole.attributes}
    assert told["http.response.status_code"].int_value == 200
    assert told["touchstone.request_id"].string_value == "line-9"
    stages = [span for span in spans if span is not whole]
    assert all(span.parent_span_id == whole.span_id for span in stages)
    by_name = {name: [span for span in stages if span.name == name] for name in ("decode", "queue", "encode", "search")}
    assert {name: len(named) for name, named in by_name.items()} == dict.fromkeys(by_name, 2)
    for span in stages:
        begin, end = span.start_time_unix_nano, span.end_time_unix_nano
        assert whole.start_time_unix_nano - slack <= begin <= end <= whole.end_time_unix_nano + slack
    # What happened together is shown together, and what came later as later.
    one, two = by_name["encode"]
    assert abs(one.start_time_unix_nano - two.start_time_unix_nano) <= slack
    assert abs(one.end_time_unix_nano - two.end_time_unix_nano) <= slack
    for before, after in itertools.pairwise(by_name):
        starts = sorted(span.start_time_unix_nano for span in by_name[after])
        ends = sorted(span.end_time_unix_nano for span in by_name[before])
        assert all(end <= start + slack for end, start in zip(ends, starts, strict=True)), (before, after)
