"""Every method of the client against a real service and its OpenAPI document."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections import defaultdict
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import islice
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest

from clients.generate.__main__ import outdated_modules
from clients.generate.models import model_name
from indexer.imaging.decode import decode_image
from indexer.imaging.encode import encode_jpeg, encode_png
from tests.clients.helpers.api_description import BlockingClient, ValidatingTransport, every_call
from tests.clients.helpers.scripted_server import Response, scripted_server
from tests.helpers.part_images import part, plain
from tests.helpers.waiting import eventually
from touchstone_client import (
    AsyncClient,
    BatchLimits,
    Client,
    ConfirmationNeeded,
    Conflict,
    ImageRejected,
    InspectionFilter,
    NotFound,
    Retries,
    StationComponent,
    StationPart,
    StationReport,
    Timeouts,
    maps,
)
from touchstone_client.models import Box, Detection, Inspection

JPEG = encode_jpeg(np.zeros((16, 16, 3), np.uint8), 80)

# Routes that the client does not call, and why.
NOT_FOR_CLIENTS = {
    ("GET", "/metrics"): "for Prometheus, in its own format",
    ("GET", "/sign-in"): "for people in a browser; programs have API keys",
    ("GET", "/sign-in/start"): "as above",
    ("POST", "/session"): "as above",
    ("DELETE", "/session"): "as above",
    ("GET", "/inspections/stream"): "for browsers; `watch` polls instead, which holds no connection open",
}


@pytest.mark.parametrize("kind", ["synchronous", "asynchronous"])
def test_every_method_sends_what_is_documented_and_receives_what_is_documented(
    service: str, kind: str, tmp_path: Path
) -> None:
    transport = ValidatingTransport(service)
    synchronous = Client(service, transport=transport)
    with synchronous if kind == "synchronous" else BlockingClient(AsyncClient(service, transport=transport)) as client:
        use_every_method(cast(Client, client), kind, tmp_path)
    assert transport.used_routes == {(call.method, call.route) for call, _ in every_call()}


def use_every_method(client: Client, name: str, tmp_path: Path) -> None:
    """Call each method at least once, with a category and a station of this name."""
    first = {"synchronous": 100, "asynchronous": 200}[name]
    onboarded = client.onboard(name, [part(seed) for seed in range(first, first + 3)], refuse=["too_dark"])
    assert (onboarded.added, onboarded.rejected) == (3, 0)
    dark = client.onboard(name, [encode_png(np.zeros((144, 160, 3), np.uint8))], refuse=["too_dark"])
    assert [result.reason for result in dark.results] == ["too_dark"]

    detection = client.inspect(
        part(first, scratched=True),
        category="disc",
        part_id="p",
        station=name,
        map="raw",
        overlay=True,
        min_version=onboarded.version,
    )
    assert (detection.verdict, detection.recorded, detection.part_id) == ("anomalous", True, "p")
    assert detection.version >= (onboarded.version or 0)
    box = detection.regions[0].box
    assert isinstance(box, Box)
    assert 0 < box.width <= 160
    assert detection.map is not None
    stored = maps.decode_png_map(client.inspection_map(detection.id))
    assert stored.shape == (256, 256)
    assert abs(stored - maps.decode_map(detection.map)).max() < 1e-4
    recorded = {field: getattr(detection, field) for field in Inspection.__dataclass_fields__}
    assert client.inspection(detection.id) == Inspection(**recorded)
    assert client.inspection_image(detection.id) == part(first, scratched=True)
    assert client.inspection_heat_map(detection.id).startswith(b"\x89PNG")
    assert max(decode_image(client.inspection_image(detection.id, side=32)).shape) == 32

    response = client.detect([part(first + 1), part(first + 2)], map="png", station=name)
    assert [type(result) for result in response.results] == [Detection, Detection]
    listed = list(client.inspections(InspectionFilter(station=name), page_size=2))
    assert [inspection.at for inspection in listed] == sorted((inspection.at for inspection in listed), reverse=True)
    assert len(listed) == 3
    assert len(client.inspections_csv(InspectionFilter(text=name[:-1], part_id="p")).splitlines()) == 2
    trend = client.trend(InspectionFilter(station=name), points=1)
    assert (trend.total, sum(trend.points[0].verdicts.values())) == (3, 3)
    client.update_category("disc", defect_classes=["scratch"])
    named = client.set_label(detection.id, "defect", defect_class="scratch", comment="long")
    assert (named.label, named.defect_class, named.comment) == ("defect", "scratch", "long")
    assert [
        inspection.id for inspection in client.inspections(InspectionFilter(station=name, defect_class="scratch"))
    ] == [named.id]
    [bar] = client.pareto(InspectionFilter(station=name)).bars
    assert (bar.defect_class, bar.count, bar.cumulative_share) == ("scratch", 1, 1.0)
    archive = tmp_path / f"{name}.zip"
    client.download_dataset(archive, InspectionFilter(station=name))
    with zipfile.ZipFile(archive) as opened:
        assert f"disc/test/scratch/{detection.id}.png" in opened.namelist()
    assert client.report(InspectionFilter(station=name), max_parts=1).startswith(b"%PDF")
    assert b"long" in client.report(InspectionFilter(station=name), format="html", time_zone="Europe/Berlin")
    assert client.set_label(detection.id, None).label is None

    ids = [reference.id for reference in client.references(name, page_size=2)]
    assert ids == [result.reference_id for result in onboarded.results]
    assert client.reference_image(ids[0]) == part(first)
    assert max(decode_image(client.reference_image(ids[0], side=32)).shape) == 32
    newest = client.references(name, order="newest", text=".", from_feedback=False, page_size=2)
    assert [reference.id for reference in newest] in ([], ids[::-1])  # by whether the files have suffixes
    gone = client.remove_references([ids[1], 10**12])
    assert (gone.removed, gone.unknown) == ((ids[1],), (10**12,))
    ids[1] = client.restore_reference(ids[1]).id
    client.remove_reference(ids[0])
    assert client.reference(ids[0]).removed_at is not None
    assert [reference.id for reference in client.references(name, removed=True)] == ids[:1]
    assert client.restore_reference(ids[0]).removed_at is None

    assert {category.name for category in client.categories()} >= {"disc", name}
    assert client.update_category(name, k=7, threshold=0.5).settings.k == 7
    advice = client.geometry_advice(category="disc", cells=100)
    assert (advice.geometry.grid, advice.cells) == ((9, 10), 90)
    assert advice.memory_bytes == advice.references * advice.reference_bytes
    assert client.update_category(name, geometry={"cells": 49}).geometry.on_mismatch == "stretch"
    assert client.alignment("disc").references > 0
    scores = client.scores("disc")
    assert list(scores.scores) == sorted(scores.scores)
    assert len(scores.references) == client.category("disc").calibration.references
    preview = client.preview("disc", limit=1, threshold=0.0)
    assert (preview.basis, preview.after.threshold, len(preview.references)) == ("stored", 0.0, 1)
    assert preview.after.references == {"anomalous": len(scores.scores)}
    assert scores.scores[-1] == preview.references[0].after.score
    asked = client.condense(name, bound=1.9)
    assert (asked.target.bound, asked.target.share) == (1.9, None)
    assert client.coreset(name).target == client.category(name).coreset.target  # type: ignore[union-attr]
    assert client.search_all(name).coreset is None
    with pytest.raises(NotFound):
        client.coreset(name)
    right_half = np.zeros((64, 64, 3), np.uint8)
    right_half[:, 32:] = 255
    region_of_interest = client.set_mask(name, encode_png(right_half)).settings.region_of_interest
    assert region_of_interest is not None
    assert region_of_interest.polygons[0][0] == pytest.approx((0.5, 0.0), abs=0.02)
    mask = decode_image(client.mask(name))
    assert (mask[:, :100].max(), mask[20:236, 156:236].min()) == (0, 255)
    assert {part.category for part in client.drift(name, limit=1).parts} <= {name}

    [kept] = client.add_labelled_images(name, [part(first + 50, scratched=True)], defective=True)
    assert kept.id is not None
    assert client.add_labelled_images(name, [part(first + 50, scratched=True)], defective=True)[0].status == "duplicate"
    white = encode_png(np.full((32, 32, 3), 255, np.uint8))
    assert client.set_labelled_mask(name, kept.id, white).mask
    assert client.labelled_image(name, kept.id) == part(first + 50, scratched=True)
    assert [image.id for image in client.labelled_images(name)] == [kept.id]
    eventually(
        lambda: any(evaluation.finished_at for evaluation in client.evaluations(name)),
        "the test set was not evaluated",
        60,
    )
    [evaluation, *_] = client.evaluations(name)
    client.download_test_set(name, archive)
    with zipfile.ZipFile(archive) as opened:
        assert f"{name}/test/defect/{kept.id}.png" in opened.namelist()
    detail = client.evaluation(name, evaluation.id)
    assert (detail.evaluation.images, [result.image.id for result in detail.results]) == (1, [kept.id])
    with pytest.raises(Conflict):
        client.start_tuning(name)
    assert client.tuning(name).tuning is None
    assert client.cancel_tuning(name).min_defective == 8
    assert client.changes_since(name, evaluation.id).added == ()
    assert client.roll_back(name, evaluation.id, page_size=1).restored == 0
    assert client.remove_labelled_image(name, kept.id) == client.labelled_images(name) == ()

    waits = client.inspect(plain(0), category="disc")
    assert waits.review == "unfamiliar"
    assert waits.id in [
        inspection.id for inspection in client.review(category="disc", reason="unfamiliar", page_size=1)
    ]
    [held] = client.decide([waits.id], "good")
    assert held.error is not None
    assert held.error.type == "/problems/confirmation-needed"
    [decided] = client.decide([waits.id], "dismiss")
    assert decided.inspection is not None
    assert decided.inspection.reviewed_at is not None
    assert client.restart_drift(name).name == name
    assert client.category(name).references == 3

    now = datetime.now(UTC)
    gate = StationComponent(
        role="gate", name="coil", error="no", last_error="no", last_error_at=now, count=1, last_at=None
    )
    decided_part = StationPart(part_id="p", captured_at=now, decision="accept", verdict=None, inspection_id=None)
    station = client.report_station(name, StationReport(now, 1, decided_part, (gate,)))
    assert (station.started_at, station.last_part, station.components) == (now, decided_part, (gate,))
    assert name in [station.name for station in client.stations()]
    assert client.station_frame(name) is None
    assert client.send_station_frame(name, JPEG, age_s=3).watched
    newest = client.station_frame(name)
    assert newest is not None
    assert (newest.data, newest.age_s in (3, 4)) == (JPEG, True)

    [usage] = [category for category in client.storage().categories if category.name == name]
    assert usage.references.count == 3
    assert client.access().role == "admin"
    created = client.create_api_key(name, "line", expires_in_days=1, requests_per_minute=60)
    assert created.token not in repr(created)
    assert (created.role, created.id in {key.id for key in client.api_keys()}) == ("line", True)
    assert client.revoke_api_key(created.id).revoked_at is not None
    changes = list(client.audit(target=name, page_size=1))
    assert {"settings.changed", "references.added"} <= {change.action for change in changes}

    client.remove_category(name)
    with pytest.raises(NotFound, match=name):
        client.category(name)
    assert {category.name: category.references for category in client.removed_categories()}[name] == 3
    restored = client.restore_category(name, page_size=2)
    assert (restored.restored, restored.lost, restored.category.references) == (3, (), 3)
    assert restored.category.settings.k == 7
    assert [reference.id for reference in client.references(name, from_feedback=True)] == []
    client.remove_category(name)
    with pytest.raises(ImageRejected) as rejected:
        client.inspect(b"not an image")
    assert rejected.value.details.reason == "not-an-image"
    assert rejected.value.details.request_id
    assert client.live().status == "live"
    assert client.ready().references == client.version().references


def test_every_route_has_a_method_or_a_reason_to_have_none(service: str) -> None:
    paths = httpx.get(f"{service}/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes - {(call.method, call.route) for call, _ in every_call()} == set(NOT_FOR_CLIENTS)


def test_every_parameter_of_a_route_is_an_argument_of_its_method(service: str) -> None:
    document = httpx.get(f"{service}/openapi.json").json()
    arguments: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call, _ in every_call():
        names = {*call.path, *call.query, *call.form, *(call.json or {}), *call.headers}
        arguments[call.method, call.route] |= names | ({"images"} if call.images else set())
    for (method, route), names in arguments.items():
        operation = document["paths"][route][method.lower()]
        parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            parameters |= schema["properties"].keys()
        assert parameters == names, (method, route)


def test_the_generated_modules_are_as_their_sources_generate_them(service: str) -> None:
    outdated = outdated_modules(httpx.get(f"{service}/openapi.json").json())
    assert not outdated, f"run `make clients`: {', '.join(path.name for path in outdated)}"


def test_every_method_returns_the_model_of_its_routes_response(service: str) -> None:
    paths = httpx.get(f"{service}/openapi.json").json()["paths"]
    for call, result in every_call():
        response = paths[call.route][call.method.lower()]["responses"]["200"]
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema and is_dataclass(result):
            assert result.__name__ == model_name(schema["$ref"].rpartition("/")[2]), call.route


def test_what_a_verdict_is_based_on_is_typed(service: str) -> None:
    with Client(service) as client:
        detection = client.inspect(part(7), category="disc", station="typed")
        assert detection.novelty is not None
        assert detection.novelty.threshold is not None
        assert detection.novelty.statistic is not None
        assert 0 < detection.novelty.similarity <= 1
        assert client.inspection(detection.id).novelty == detection.novelty
        category = client.category("disc")
        assert category.calibration.unfamiliar.threshold == detection.novelty.threshold
        assert category.calibration.progress == 1.0
        assert category.drift is not None
        assert (category.drift.state, sum(category.drift.scores.p_values)) == ("steady", category.drift.inspections)
        whole_image = {"polygons": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}
        updated = client.update_category("disc", region_of_interest=whole_image, refuse=["blurred"])
        assert updated.settings.region_of_interest is not None
        assert updated.settings.region_of_interest.polygons[0][2] == (1.0, 1.0)
        assert updated.settings.refuse == ("blurred",)
        client.update_category("disc", region_of_interest=None, refuse=[])

        onboarded = client.onboard("typed", [encode_png(np.zeros((144, 160, 3), np.uint8))])
        [finding] = onboarded.results[0].findings
        assert (finding.kind, finding.value) == ("too_dark", 0.0)
        assert client.reference(onboarded.results[0].reference_id or 0).findings == (finding,)
        client.remove_category("typed")


def test_a_label_that_needs_confirmation_raises_an_error_with_its_effect(service: str) -> None:
    with Client(service) as client:
        wrong = client.inspect(part(70, kind=1), category="disc", station="confirmation")
        with pytest.raises(ConfirmationNeeded) as caught:
            client.set_label(wrong.id, "good")
        effect = caught.value.effect
        assert effect is not None
        assert (caught.value.confirm_role, caught.value.details.status) == ("engineer", 409)
        assert effect.score is not None
        assert effect.threshold_after == pytest.approx(effect.score)
        assert {"threshold", "unfamiliar"} <= {reason.reason for reason in effect.reasons}
        labelled = client.set_label(wrong.id, "good", confirm=True)
        assert client.reference(labelled.promoted_reference_id or 0).inspection_id == wrong.id
        client.set_label(wrong.id, None)

    async def asynchronous_effect() -> object:
        async with AsyncClient(service) as client:
            with pytest.raises(ConfirmationNeeded) as caught:
                await client.set_label(wrong.id, "good")
            return caught.value.effect

    assert asyncio.run(asynchronous_effect()) == effect


def test_the_asynchronous_client_onboards_inspects_and_watches(service: str) -> None:
    async def tour() -> None:
        async with AsyncClient(service, timeouts=Timeouts(total=60)) as client:
            onboarded = await client.onboard("tour", [part(201), b"not an image", part(202)])
            assert [result.status for result in onboarded.results] == ["added", "rejected", "added"]
            image, station = part(9, scratched=True), "tour"
            first = await client.inspect(image, category="disc", station=station, idempotency_key="tour")
            second = await client.inspect(image, category="disc", station=station, idempotency_key="tour")
            assert first == second
            assert first.verdict == "anomalous"
            filter = InspectionFilter(station=station)
            assert [inspection.id async for inspection in client.inspections(filter)] == [first.id]
            assert "tour" in [category.name for category in await client.categories()]
            assert len([reference async for reference in client.references("tour", page_size=1)]) == 2
            async for inspection in client.watch(filter, start=first.at):
                assert inspection.id == first.id
                break
            await client.remove_category("tour")
            with pytest.raises(NotFound):
                await client.category("tour")

    asyncio.run(tour())


def test_a_large_upload_is_split_into_requests_that_the_service_accepts(service: str, tmp_path: Path) -> None:
    paths = []
    for index in range(150):
        path = tmp_path / f"{index:03d}.png"
        path.write_bytes(b"not an image" if index == 70 else part(1000 + index))
        paths.append(path)
    reported = []
    with Client(service, retries=Retries(max_attempts=2)) as client:
        # The service accepts at most 64 images per request: a batch of 100 has to be split.
        result = client.onboard("long", paths, progress=reported.append, limits=BatchLimits(max_images=100))
        assert [image.filename for image in result.results] == [path.name for path in paths]
        assert (result.added, result.duplicates, result.rejected) == (149, 0, 1)
        assert result.results[70].reason == "not-an-image"
        assert [progress.done for progress in reported] == [50, 100, 150]
        assert {progress.total for progress in reported} == {150}
        repeated = client.onboard("long", iter(paths))
        assert (repeated.added, repeated.duplicates, repeated.rejected) == (0, 149, 1)
        client.remove_category("long")


def test_each_image_of_an_upload_that_is_refused_as_a_whole_has_its_own_reason(service: str) -> None:
    with Client(service) as client:
        result = client.onboard("rejected", [b"not an image", b"", part(1)[:400]])
        assert [image.status for image in result.results] == ["rejected"] * 3
        assert [image.reason for image in result.results] == ["not-an-image", "empty", "damaged"]
        assert result.version is None


def test_inspections_are_watched_after_the_service_s_clock_was_set_back(service: str) -> None:
    with Client(service) as client:
        client.inspect(part(30), category="disc", station="set-back")
    recorded = httpx.get(f"{service}/inspections", params={"station": "set-back"}).json()["inspections"][0]
    time = datetime.fromisoformat(recorded["at"]).replace(microsecond=0)

    def page(now: timedelta, **inspections: timedelta) -> Response:
        """What the service answers when its clock is at `now` from the first one's time. Those: by id."""
        newest_first = sorted(inspections.items(), key=lambda item: item[1], reverse=True)
        items = [{**recorded, "id": name, "at": (time + at).isoformat()} for name, at in newest_first]
        headers = {"date": format_datetime(time + now, usegmt=True), "content-type": "application/json"}
        return 200, headers, json.dumps({"inspections": items, "next_cursor": None})

    first, hour, second = timedelta(), timedelta(hours=1), timedelta(seconds=1)
    script = (
        page(second, first=first),  # which ones are not new
        page(2 * second, first=first),
        page(second - hour, first=first),  # the clock has been set back
        page(2 * second - hour, first=first, before=-hour / 2, second=second - hour),  # `before` was seen long ago
        page(9 * second - hour, first=first, before=-hour / 2, third=8 * second - hour, second=second - hour),
    )
    with scripted_server(*script) as server, Client(server.url) as client:
        watched = [inspection.id for inspection in islice(client.watch(poll_interval=0.01), 2)]
    assert watched == ["second", "third"]
    since = [parse_qs(urlsplit(request.path).query).get("since", [""])[0] for request in server.requests]
    assert datetime.fromisoformat(since[3]) < time + second - hour <= datetime.fromisoformat(since[2])
