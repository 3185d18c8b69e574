"""The client against the real service and its OpenAPI description: what it sends is documented, what it gets fits."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints
from urllib.parse import parse_qs

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from indexer.images import decode_image, encode_png
from tests.service.pictures import part
from touchstone_client import (
    AsyncClient,
    Batch,
    Client,
    ConfirmationNeeded,
    InspectionQuery,
    NotFound,
    Picture,
    PictureRefused,
    Retries,
    SettingsChanges,
    Timeouts,
    calls,
    maps,
)
from touchstone_client.answers import Detection, Inspection
from touchstone_client.calls import Call

# What the service offers and this client does not: routes that other programs are for.
NOT_FOR_CLIENTS = {
    ("GET", "/metrics"): "written for Prometheus, in its own format",
    ("GET", "/inspections/stream"): "for browsers; `watch` gives the same by asking, which needs no connection held",
}


class Contract(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Passes requests on, and holds each with its answer against the service's OpenAPI description."""

    def __init__(self, url: str) -> None:
        self._inner = httpx.HTTPTransport()
        self._described = httpx.get(f"{url}/openapi.json").json()
        self.used: set[tuple[str, str]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        route, operation = self._operation(request)
        self.used.add((request.method, route))
        self._check_parameters(request, operation)
        response = self._inner.handle_request(request)
        response.read()
        described = operation["responses"].get(str(response.status_code))
        assert described is not None, f"{request.method} {route} does not document {response.status_code}"
        kind = response.headers["content-type"].partition(";")[0]
        schema = described.get("content", {}).get(kind, {}).get("schema")
        if kind.endswith("json"):
            assert schema is not None, f"{request.method} {route} {response.status_code} documents no {kind}"
            self._validate(schema, response.json())
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = self.handle_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        self.close()

    def _operation(self, request: httpx.Request) -> tuple[str, dict[str, Any]]:
        given = request.url.path.strip("/").split("/")
        for route, methods in self._described["paths"].items():
            parts = route.strip("/").split("/")
            fits = len(parts) == len(given) and all(
                part == value or part.startswith("{") for part, value in zip(parts, given, strict=True)
            )
            if fits and request.method.lower() in methods:
                return route, methods[request.method.lower()]
        raise AssertionError(f"{request.method} {request.url.path} is not documented")

    def _check_parameters(self, request: httpx.Request, operation: dict[str, Any]) -> None:
        documented = {(each["in"], each["name"].lower()) for each in operation.get("parameters", ())}
        for name in parse_qs(request.url.query.decode()):
            assert ("query", name) in documented, name
        if "idempotency-key" in request.headers:
            assert ("header", "idempotency-key") in documented
        body = request.read()
        content = operation.get("requestBody", {}).get("content", {})
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind == "application/json":
            self._validate(content[kind]["schema"], json.loads(body))
        elif kind:
            fields = set(content[kind]["schema"]["properties"])
            sent = {
                line.split(b'"')[1].decode() for line in body.split(b"form-data; name=")[1:] if line.startswith(b'"')
            }
            assert sent <= fields, sent - fields

    def _validate(self, schema: dict[str, Any], value: object) -> None:
        whole = {**schema, "components": self._described.get("components", {})}
        errors = [error.message for error in Draft202012Validator(whole).iter_errors(value)]
        assert not errors, errors


class Blocking:
    """An asynchronous client whose methods are called as those of the synchronous one."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def called(*given: Any, **named: Any) -> Any:
            answer = method(*given, **named)
            return [each async for each in answer] if inspect.isasyncgen(answer) else await answer

        return lambda *given, **named: self._runner.run(called(*given, **named))


@pytest.mark.parametrize("kind", ["synchronous", "asynchronous"])
def test_every_method_sends_what_is_documented_and_gets_what_is_described(service: str, kind: str) -> None:
    contract = Contract(service)
    synchronous = Client(service, transport=contract)
    with synchronous if kind == "synchronous" else Blocking(AsyncClient(service, transport=contract)) as client:
        use_every_method(cast(Client, client), kind)
    assert contract.used == {(call.method, call.route) for call in every_call()}


def use_every_method(client: Client, name: str) -> None:
    """Go through all that the client can do, with a category and a station of this name."""
    first = {"synchronous": 100, "asynchronous": 200}[name]
    onboarded = client.onboard(name, [part(seed) for seed in range(first, first + 3)], refuse=["too_dark"])
    assert (onboarded.added, onboarded.refused) == (3, 0)
    dark = client.onboard(name, [encode_png(np.zeros((144, 160, 3), np.uint8))], refuse=["too_dark"])
    assert [each.reason for each in dark.results] == ["too_dark"]
    found = client.inspect(
        part(first, scratched=True), category="disc", part_id="p", station=name, map="raw", overlay=True,
        min_version=onboarded.version,
    )  # fmt: skip
    assert (found.verdict, found.recorded, found.part_id) == ("anomalous", True, "p")
    assert found.version >= (onboarded.version or 0)
    assert found.regions
    assert found.map is not None
    kept = maps.array_of_png(client.inspection_map(found.id))
    assert kept.shape == (256, 256)
    assert abs(kept - maps.array(found.map)).max() < 1e-4
    assert client.inspection(found.id) == Inspection(
        **{field: getattr(found, field) for field in Inspection.__dataclass_fields__}
    )
    assert client.inspection_image(found.id) == part(first, scratched=True)
    assert client.inspection_heat(found.id).startswith(b"\x89PNG")
    assert max(decode_image(client.inspection_image(found.id, side=32)).shape) == 32
    answer = client.detect([part(first + 1), part(first + 2)], map="png", station=name)
    assert [type(each) for each in answer.results] == [Detection, Detection]
    listed = list(client.inspections(InspectionQuery(station=name), page_size=2))
    assert [each.at for each in listed] == sorted((each.at for each in listed), reverse=True)
    assert len(listed) == 3
    assert len(client.inspections_csv(InspectionQuery(text=name[:-1], part_id="p")).splitlines()) == 2
    trend = client.trend(InspectionQuery(station=name), points=1)
    assert (trend.total, sum(trend.points[0].verdicts.values())) == (3, 3)
    assert client.judge(found.id, "defect").judgement == "defect"
    assert client.judge(found.id, None).judgement is None

    ids = [each.id for each in client.references(name, page_size=2)]
    assert ids == [each.reference_id for each in onboarded.results]
    assert client.reference_image(ids[0]) == part(first)
    assert max(decode_image(client.reference_image(ids[0], side=32)).shape) == 32
    client.remove_reference(ids[0])
    assert client.reference(ids[0]).removed_at is not None
    assert [each.id for each in client.references(name, removed=True)] == ids[:1]
    assert client.restore_reference(ids[0]).removed_at is None

    assert {each.name for each in client.categories()} >= {"disc", name}
    assert client.change_category(name, k=7, threshold=0.5).settings.k == 7
    scores = client.scores("disc")
    assert list(scores.scores) == sorted(scores.scores)
    assert len(scores.references) == client.category("disc").calibration.references
    tried = client.preview("disc", limit=1, threshold=0.0)
    assert (tried.basis, tried.after.threshold, len(tried.references)) == ("kept", 0.0, 1)
    assert tried.after.references == {"anomalous": len(scores.scores)}
    assert scores.scores[-1] == tried.references[0].after.score
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, 32:] = 255
    masked = client.set_mask(name, encode_png(half)).settings.region_of_interest
    assert masked is not None
    assert masked.mask
    drawn = decode_image(client.mask(name))
    assert (drawn[:, :100].max(), drawn[:, 156:].min()) == (0, 255)
    assert client.restart_drift(name).name == name
    assert client.category(name).references == 3

    [held] = [each for each in client.storage().categories if each.name == name]
    assert held.references.count == 3
    assert client.access().role == "admin"
    made = client.create_key(name, "line", expires_in_days=1, requests_per_minute=60)
    assert made.token not in repr(made)
    everyone = client.keys()
    assert (made.role, made.id in {each.id for each in everyone}) == ("line", True)
    assert client.revoke_key(made.id).revoked_at is not None
    changes = list(client.audit(target=name, page_size=1))
    assert {"settings.changed", "references.added"} <= {each.action for each in changes}

    client.remove_category(name)
    with pytest.raises(NotFound, match=name):
        client.category(name)
    with pytest.raises(PictureRefused) as refused:
        client.inspect(b"no picture")
    assert refused.value.details.reason == "not-an-image"
    assert refused.value.details.request_id
    assert client.live().status == "live"
    assert client.ready().references == client.version().references


def every_call() -> list[Call[Any]]:
    """Each call that the client can make, with a value for all that can be given."""
    return [call for call, _ in every_call_with_its_answer()]


SAMPLES: dict[str, Any] = {
    "pictures": (Picture("p", b""),), "given": b"", "refuse": ("blurred",), "key": "k",
    "changes": dict.fromkeys(SettingsChanges.__annotations__),
    "matching": InspectionQuery("c", "normal", "s", "p", "good", datetime.now(UTC), datetime.now(UTC), "t"),
}  # fmt: skip


def every_call_with_its_answer() -> list[tuple[Call[Any], Any]]:
    """Each call that the client can make, with a value for all that can be given, and the type of what it answers."""
    made = []
    builders: list[Callable[..., Any]] = [
        each for name, each in vars(calls).items()
        if inspect.isfunction(each) and each.__module__ == calls.__name__ and not name.startswith("_")
    ]  # fmt: skip
    for build in builders:
        if str(inspect.signature(build).return_annotation).startswith("Call["):
            call = build(**{name: SAMPLES.get(name, 1) for name in inspect.signature(build).parameters})
            made.append((call, get_args(get_type_hints(build)["return"])[0]))
    return made


def test_every_route_has_a_method_or_a_reason_to_have_none(service: str) -> None:
    described = httpx.get(f"{service}/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in described.items() for method in methods}
    assert routes - {(call.method, call.route) for call in every_call()} == set(NOT_FOR_CLIENTS)


def test_everything_that_a_route_takes_can_be_given_to_the_client(service: str) -> None:
    described = httpx.get(f"{service}/openapi.json").json()
    given: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in every_call():
        given[call.method, call.route] |= {*call.path, *call.query, *call.form, *(call.json or {}), *call.headers}
        if call.pictures:
            given[call.method, call.route].add("images")
    for (method, route), names in given.items():
        operation = described["paths"][route][method.lower()]
        wanted = {each["name"] for each in operation.get("parameters", ())}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            if "$ref" in schema:
                schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            wanted |= schema["properties"].keys()
        assert wanted == names, (method, route)


def test_the_client_has_a_type_for_every_field_that_the_service_answers(service: str) -> None:
    described = httpx.get(f"{service}/openapi.json").json()
    checked: set[str] = set()

    def known(schema: dict[str, Any], kind: Any) -> None:
        """Each object that a schema can be is one of the kind's dataclasses, with a field for each property."""
        if (name := schema.get("$ref", "").rpartition("/")[2]) and name not in checked:
            checked.add(name)
            whole = described["components"]["schemas"][name]
            hints = [get_type_hints(each) for each in dataclasses_in(kind)]
            fitting = [each for each in hints if whole.get("properties", {}).keys() <= each.keys()]
            assert fitting, f"{name} has fields that {kind} lacks: {sorted(whole['properties'])}"
            for field, inner in whole["properties"].items():
                known(inner, fitting[0][field])
        for inner in (*schema.get("anyOf", ()), *schema.get("prefixItems", ()), schema.get("items", {})):
            if inner:
                known(inner, kind)

    for call, kind in every_call_with_its_answer():
        answer = described["paths"][call.route][call.method.lower()]["responses"]["200"]
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        if is_dataclass(kind):
            known(schema, kind)
    assert {"FamiliarityView", "BetterCategoryView", "FindingView", "CalibrationView", "DriftView"} <= checked


def dataclasses_in(kind: Any) -> list[Any]:
    """Those that a type hint names, anywhere in it."""
    if is_dataclass(kind):
        return [kind]
    return [each for inner in get_args(kind) for each in dataclasses_in(inner)]


def test_what_verdicts_rest_on_is_typed(service: str) -> None:
    with Client(service) as client:
        found = client.inspect(part(7), category="disc", station="typed")
        assert found.familiarity is not None
        assert found.familiarity.level is not None
        assert found.familiarity.statistic is not None
        assert 0 < found.familiarity.similarity <= 1
        assert client.inspection(found.id).familiarity == found.familiarity
        category = client.category("disc")
        assert category.calibration.unfamiliar is not None
        assert category.calibration.unfamiliar.level == found.familiarity.level
        assert category.calibration.progress == 1.0
        assert category.drift is not None
        assert (category.drift.state, sum(category.drift.p_values)) == ("steady", category.drift.inspections)
        changed = client.change_category(
            "disc", region_of_interest={"polygons": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, refuse=["blurred"]
        )
        assert changed.settings.region_of_interest is not None
        assert changed.settings.region_of_interest.polygons[0][2] == (1.0, 1.0)
        assert changed.settings.refuse == ("blurred",)
        client.change_category("disc", region_of_interest=None, refuse=[])
        added = client.onboard("typed", [encode_png(np.zeros((144, 160, 3), np.uint8))])
        [finding] = added.results[0].findings
        assert (finding.kind, finding.value) == ("too_dark", 0.0)
        assert client.reference(added.results[0].reference_id or 0).findings == (finding,)
        client.remove_category("typed")


def test_a_part_that_would_spoil_its_product_is_held_with_a_typed_effect(service: str) -> None:
    with Client(service) as client:
        wrong = client.inspect(part(70, kind=1), category="disc", station="held")
        with pytest.raises(ConfirmationNeeded) as caught:
            client.judge(wrong.id, "good")
        effect = caught.value.effect
        assert effect is not None
        assert (caught.value.confirm_role, caught.value.details.status) == ("engineer", 409)
        assert effect.score is not None
        assert effect.threshold_after == pytest.approx(effect.score)
        assert {"threshold", "unfamiliar"} <= {each.reason for each in effect.reasons}
        judged = client.judge(wrong.id, "good", confirm=True)
        assert client.reference(judged.promoted_reference_id or 0).inspection_id == wrong.id
        client.judge(wrong.id, None)

    async def held() -> object:
        async with AsyncClient(service) as asynchronous:
            with pytest.raises(ConfirmationNeeded) as caught:
                await asynchronous.judge(wrong.id, "good")
            return caught.value.effect

    assert asyncio.run(held()) == effect


def test_the_asynchronous_client_has_the_same_methods_and_the_same_answers(service: str) -> None:
    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(each).parameters)
            for name, each in vars(kind).items()
            if inspect.isfunction(each) and not name.startswith("_")
        }

    assert public(Client) == public(AsyncClient)

    async def tour() -> list[object]:
        async with AsyncClient(service, timeouts=Timeouts(total=60)) as client:
            onboarded = await client.onboard("tour", [part(201), b"no picture", part(202)])
            found = await client.inspect(part(9, scratched=True), category="disc", station="tour", key="tour")
            again = await client.inspect(part(9, scratched=True), category="disc", station="tour", key="tour")
            assert found == again
            listed = [each.id async for each in client.inspections(InspectionQuery(station="tour"))]
            names = [each.name for each in await client.categories()]
            references = [each.id async for each in client.references("tour", page_size=1)]
            async for seen in client.watch(InspectionQuery(station="tour"), start=found.at):
                assert seen.id == found.id
                break
            await client.remove_category("tour")
            with pytest.raises(NotFound):
                await client.category("tour")
            statuses = [each.status for each in onboarded.results]
            return [statuses, len(references), listed == [found.id], "tour" in names, found.verdict]

    assert asyncio.run(tour()) == [["added", "refused", "added"], 2, True, True, "anomalous"]


def test_a_long_upload_is_sent_in_pieces_that_the_service_takes_and_tells_how_far_it_is(
    service: str, tmp_path: Path
) -> None:
    paths = []
    for number in range(150):
        path = tmp_path / f"{number:03d}.png"
        path.write_bytes(b"not a picture" if number == 70 else part(1000 + number))
        paths.append(path)
    seen = []
    with Client(service, retries=Retries(attempts=2)) as client:
        # The service takes at most 64 pictures a request: a batch of 100 has to be halved.
        done = client.onboard("long", paths, progress=seen.append, batch=Batch(pictures=100))
        assert [each.filename for each in done.results] == [path.name for path in paths]
        assert (done.added, done.duplicates, done.refused) == (149, 0, 1)
        assert done.results[70].reason == "not-an-image"
        assert [each.done for each in seen] == [50, 100, 150]
        assert {each.of for each in seen} == {150}
        again = client.onboard("long", iter(paths))
        assert (again.added, again.duplicates, again.refused) == (0, 149, 1)
        client.remove_category("long")


def test_a_request_of_pictures_that_are_all_refused_tells_why_of_each(service: str) -> None:
    with Client(service) as client:
        done = client.onboard("refused", [b"no picture", b"", part(1)[:400]])
        assert [each.status for each in done.results] == ["refused"] * 3
        assert [each.reason for each in done.results] == ["not-an-image", "empty", "damaged"]
        assert done.version is None
