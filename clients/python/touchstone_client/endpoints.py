"""Each request of the API as a value, so that both clients send the same ones.

Every call but one may be repeated: reads change nothing; removing or restoring twice does it once; the same reference
is a duplicate; settings and labels replace themselves; a detection carries an Idempotency-Key under which the service
records it once. `create_api_key` would create a second key, so it is never repeated.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from touchstone_client import models
from touchstone_client.deserialize import deserialize
from touchstone_client.errors import (
    ConfirmationNeeded,
    InvalidResponse,
    Problem,
    ProblemDetails,
    ReferenceEffect,
    make_problem,
)
from touchstone_client.frames import StationFrame
from touchstone_client.images import ImageFile, ImageInput, to_image_file
from touchstone_client.parameters import (
    DefectDetails,
    InspectionFilter,
    MapFormat,
    ReferenceOrder,
    ReportFormat,
    Resolution,
    ReviewDecision,
    StationReport,
)
from touchstone_client.text import sanitize

T = TypeVar("T")
M = TypeVar("M")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    route: as the API documents it, with its placeholders; path: their values. parse: turns a successful response into
    the result. repeatable: sending it twice does no more than sending it once.
    """

    method: str
    route: str
    parse: Callable[[httpx.Response], T]
    path: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    images: tuple[ImageFile, ...] = ()
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    def build_request(
        self, client: httpx.Client | httpx.AsyncClient, timeout: httpx.Timeout, files: ExitStack
    ) -> httpx.Request:
        """The request of one attempt; its images stay open as long as `files`. InvalidRequest, OSError."""
        images = [("images", (image.filename, files.enter_context(image.open()))) for image in self.images]
        try:
            return client.build_request(
                self.method,
                self.route.format(**{name: _segment(name, str(value)) for name, value in self.path.items()}),
                params=dict(self.query),
                data=dict(self.form) or None,
                files=images or None,
                json=self.json,
                headers={name.encode(): value.encode() for name, value in self.headers.items()},
                timeout=timeout,
            )
        except UnicodeEncodeError as error:
            text = sanitize(error.object, 80)
            raise _invalid_request(f"{text!r} contains bytes that are not UTF-8.") from None

    def parse_response(self, response: httpx.Response) -> T:
        """The result in a response that has been read. Problem, InvalidResponse."""
        if response.is_success:
            return self.parse(response)
        raise _parse_problem(response)


# Inspecting


def detect(
    images: Sequence[ImageInput],
    category: str | None,
    part_id: str | None,
    station: str | None,
    map: MapFormat,
    overlay: bool,
    min_version: int | None,
    idempotency_key: str | None,
    bit_depth: models.BitDepth | None,
    record: bool,
    wait_for_recording: bool,
) -> Call[models.DetectResponse]:
    """`POST /detect`. InvalidRequest when the key cannot be a header's value.

    Without a key a new one is generated, so that repeating this call does not inspect twice.
    """
    key = idempotency_key or uuid.uuid4().hex
    if not key.isprintable() or key != key.strip():
        raise _invalid_request(f"The idempotency key {sanitize(key, 80)!r} contains characters not allowed in headers.")
    form = _texts(category=category, part_id=part_id, station=station, min_version=min_version, bit_depth=bit_depth)
    return Call(
        "POST",
        "/detect",
        _json(models.DetectResponse),
        form=form | _texts(map=map, overlay=overlay, record=record, wait_for_recording=wait_for_recording),
        images=tuple(to_image_file(image) for image in images),
        headers={"Idempotency-Key": key},
    )


def single_result(response: models.DetectResponse) -> models.Detection:
    """The detection of a request with one image. Problem when the image was rejected."""
    [result] = response.results
    if isinstance(result, models.RejectedImage):
        raise make_problem(result.error, None, {})
    return result


# References


def add_references(
    category: str,
    images: Sequence[ImageFile],
    refuse: Sequence[models.FindingKind] | None,
    bit_depth: models.BitDepth | None,
    resolution: Resolution,
) -> Call[models.ReferencesResponse]:
    """`POST /references`."""
    kinds = None if refuse is None else ",".join(refuse) or "none"
    form = _texts(category=category, refuse=kinds, bit_depth=bit_depth, **asdict(resolution))
    return Call("POST", "/references", _json(models.ReferencesResponse), form=form, images=tuple(images))


def references(
    category: str | None,
    removed: bool,
    from_feedback: bool,
    order: ReferenceOrder,
    text: str | None,
    cursor: str | None,
    page_size: int,
) -> Call[models.ReferencePage]:
    """`GET /references`, one page."""
    query = _texts(category=category, removed=removed, from_feedback=from_feedback, order=order, text=text)
    query |= _texts(cursor=cursor, limit=page_size)
    return Call("GET", "/references", _json(models.ReferencePage), query=query)


def remove_references(reference_ids: Sequence[int]) -> Call[models.RemovedMany]:
    """`POST /references/remove`."""
    json = {"reference_ids": [*reference_ids]}
    return Call("POST", "/references/remove", _json(models.RemovedMany), json=json)


def reference(reference_id: int) -> Call[models.Reference]:
    """`GET /references/{reference_id}`."""
    return Call("GET", "/references/{reference_id}", _json(models.Reference), {"reference_id": reference_id})


def reference_image(reference_id: int, side: int | None) -> Call[bytes]:
    """`GET /references/{reference_id}/image`."""
    route = "/references/{reference_id}/image"
    return Call("GET", route, _content, {"reference_id": reference_id}, query=_texts(side=side))


def remove_reference(reference_id: int) -> Call[models.Removed]:
    """`DELETE /references/{reference_id}`."""
    return Call("DELETE", "/references/{reference_id}", _json(models.Removed), {"reference_id": reference_id})


def restore_reference(reference_id: int) -> Call[models.Reference]:
    """`POST /references/{reference_id}/restore`."""
    route = "/references/{reference_id}/restore"
    return Call("POST", route, _json(models.Reference), {"reference_id": reference_id})


# Categories


def categories() -> Call[models.Categories]:
    """`GET /categories`."""
    return Call("GET", "/categories", _json(models.Categories))


def category(name: str) -> Call[models.Category]:
    """`GET /categories/{name}`."""
    return Call("GET", "/categories/{name}", _json(models.Category), {"name": name})


def update_category(name: str, changes: models.SettingsChanges) -> Call[models.Category]:
    """`PATCH /categories/{name}`."""
    return Call("PATCH", "/categories/{name}", _json(models.Category), {"name": name}, json={**changes})


def geometry_advice(
    category: str | None,
    width: int | None,
    height: int | None,
    references: int | None,
    choice: models.GeometryChoice,
) -> Call[models.Advice]:
    """`POST /geometry/advice`."""
    images = {"category": category, "width": width, "height": height, "references": references}
    body = {**choice, **{name: value for name, value in images.items() if value is not None}}
    return Call("POST", "/geometry/advice", _json(models.Advice), json=body)


def coreset(name: str) -> Call[models.Coreset]:
    """`GET /categories/{name}/coreset`."""
    return Call("GET", "/categories/{name}/coreset", _json(models.Coreset), {"name": name})


def condense(name: str, share: float | None, bound: float | None) -> Call[models.Coreset]:
    """`PUT /categories/{name}/coreset`."""
    target = {key: value for key, value in (("share", share), ("bound", bound)) if value is not None}
    return Call("PUT", "/categories/{name}/coreset", _json(models.Coreset), {"name": name}, json=target)


def search_all(name: str) -> Call[models.Category]:
    """`DELETE /categories/{name}/coreset`."""
    return Call("DELETE", "/categories/{name}/coreset", _json(models.Category), {"name": name})


def remove_category(name: str) -> Call[models.Removed]:
    """`DELETE /categories/{name}`."""
    return Call("DELETE", "/categories/{name}", _json(models.Removed), {"name": name})


def restore_category(name: str, cursor: str | None, page_size: int) -> Call[models.RestoredCategory]:
    """`POST /categories/{name}/restore`, with some of its references."""
    route, query = "/categories/{name}/restore", _texts(cursor=cursor, limit=page_size)
    return Call("POST", route, _json(models.RestoredCategory), {"name": name}, query=query)


def preview(name: str, settings: models.PreviewedSettings, limit: int) -> Call[models.Preview]:
    """`POST /categories/{name}/preview`."""
    route, query = "/categories/{name}/preview", _texts(limit=limit)
    return Call("POST", route, _json(models.Preview), {"name": name}, query=query, json={**settings})


def scores(name: str) -> Call[models.Scores]:
    """`GET /categories/{name}/scores`."""
    return Call("GET", "/categories/{name}/scores", _json(models.Scores), {"name": name})


def alignment(name: str) -> Call[models.Alignment]:
    """`GET /categories/{name}/alignment`."""
    return Call("GET", "/categories/{name}/alignment", _json(models.Alignment), {"name": name})


def mask(name: str) -> Call[bytes]:
    """`GET /categories/{name}/region-of-interest.png`."""
    return Call("GET", "/categories/{name}/region-of-interest.png", _content, {"name": name})


def set_mask(name: str, image: ImageInput) -> Call[models.Category]:
    """`PUT /categories/{name}/region-of-interest`."""
    route = "/categories/{name}/region-of-interest"
    return Call("PUT", route, _json(models.Category), {"name": name}, images=(to_image_file(image),))


def drift(name: str, limit: int) -> Call[models.DriftParts]:
    """`GET /categories/{name}/drift`."""
    return Call("GET", "/categories/{name}/drift", _json(models.DriftParts), {"name": name}, query=_texts(limit=limit))


def labelled_images(name: str) -> Call[models.LabelledImages]:
    """`GET /categories/{name}/test-images`."""
    return Call("GET", "/categories/{name}/test-images", _json(models.LabelledImages), {"name": name})


def add_labelled_images(name: str, images: Sequence[ImageFile], *, defective: bool) -> Call[models.LabelledImagesAdded]:
    """`POST /categories/{name}/test-images`."""
    form = _texts(defective=defective)
    route = "/categories/{name}/test-images"
    return Call("POST", route, _json(models.LabelledImagesAdded), {"name": name}, form=form, images=tuple(images))


def set_labelled_mask(name: str, image_id: int, image: ImageInput) -> Call[models.LabelledImage]:
    """`PUT /categories/{name}/test-images/{image_id}/mask`."""
    route = "/categories/{name}/test-images/{image_id}/mask"
    return Call(
        "PUT", route, _json(models.LabelledImage), {"name": name, "image_id": image_id}, images=(to_image_file(image),)
    )


def labelled_image(name: str, image_id: int, side: int | None) -> Call[bytes]:
    """`GET /categories/{name}/test-images/{image_id}/image`."""
    route = "/categories/{name}/test-images/{image_id}/image"
    return Call("GET", route, _content, {"name": name, "image_id": image_id}, query=_texts(side=side))


def remove_labelled_image(name: str, image_id: int) -> Call[models.LabelledImages]:
    """`DELETE /categories/{name}/test-images/{image_id}`."""
    route = "/categories/{name}/test-images/{image_id}"
    return Call("DELETE", route, _json(models.LabelledImages), {"name": name, "image_id": image_id})


def test_set_dataset(name: str) -> Call[bytes]:
    """`GET /categories/{name}/test-set.zip`."""
    return Call("GET", "/categories/{name}/test-set.zip", _content, {"name": name})


def evaluations(name: str) -> Call[models.Evaluations]:
    """`GET /categories/{name}/evaluations`."""
    return Call("GET", "/categories/{name}/evaluations", _json(models.Evaluations), {"name": name})


def tuning(name: str) -> Call[models.TuningStatus]:
    """`GET /categories/{name}/tuning`."""
    return Call("GET", "/categories/{name}/tuning", _json(models.TuningStatus), {"name": name})


def start_tuning(name: str) -> Call[models.TuningStatus]:
    """`POST /categories/{name}/tuning`."""
    return Call("POST", "/categories/{name}/tuning", _json(models.TuningStatus), {"name": name})


def cancel_tuning(name: str) -> Call[models.TuningStatus]:
    """`DELETE /categories/{name}/tuning`."""
    return Call("DELETE", "/categories/{name}/tuning", _json(models.TuningStatus), {"name": name})


def changes_since(name: str, evaluation_id: int) -> Call[models.ChangesSince]:
    """`GET /categories/{name}/evaluations/{evaluation_id}/changes`."""
    route = "/categories/{name}/evaluations/{evaluation_id}/changes"
    return Call("GET", route, _json(models.ChangesSince), {"name": name, "evaluation_id": evaluation_id})


def roll_back(name: str, evaluation_id: int, cursor: str | None, page_size: int) -> Call[models.RolledBack]:
    """`POST /categories/{name}/evaluations/{evaluation_id}/roll-back`, with some of the references."""
    route, query = "/categories/{name}/evaluations/{evaluation_id}/roll-back", _texts(cursor=cursor, limit=page_size)
    path = {"name": name, "evaluation_id": evaluation_id}
    return Call("POST", route, _json(models.RolledBack), path, query=query)


def evaluation(name: str, evaluation_id: int) -> Call[models.EvaluationDetail]:
    """`GET /categories/{name}/evaluations/{evaluation_id}`."""
    route = "/categories/{name}/evaluations/{evaluation_id}"
    return Call("GET", route, _json(models.EvaluationDetail), {"name": name, "evaluation_id": evaluation_id})


def restart_drift(name: str) -> Call[models.Category]:
    """`POST /categories/{name}/drift/restart`."""
    return Call("POST", "/categories/{name}/drift/restart", _json(models.Category), {"name": name})


# History


def inspections(filter: InspectionFilter, cursor: str | None, page_size: int) -> Call[models.InspectionPage]:
    """`GET /inspections`, one page."""
    query = _texts(**vars(filter), cursor=cursor, limit=page_size)
    return Call("GET", "/inspections", _json(models.InspectionPage), query=query)


def inspections_csv(filter: InspectionFilter) -> Call[str]:
    """`GET /inspections` as CSV."""
    query = _texts(**vars(filter), format="csv")
    return Call("GET", "/inspections", lambda response: response.text, query=query)


def trend(filter: InspectionFilter, points: int) -> Call[models.Trend]:
    """`GET /inspections/trend`."""
    return Call("GET", "/inspections/trend", _json(models.Trend), query=_texts(**vars(filter), points=points))


def pareto(filter: InspectionFilter) -> Call[models.Pareto]:
    """`GET /inspections/pareto`."""
    return Call("GET", "/inspections/pareto", _json(models.Pareto), query=_texts(**vars(filter)))


def dataset(filter: InspectionFilter) -> Call[bytes]:
    """`GET /inspections/dataset.zip`."""
    return Call("GET", "/inspections/dataset.zip", _content, query=_texts(**vars(filter)))


def report(filter: InspectionFilter, format: ReportFormat, max_parts: int, time_zone: str) -> Call[bytes]:
    """`GET /inspections/report`."""
    query = _texts(**vars(filter), format=format, limit=max_parts, time_zone=time_zone)
    return Call("GET", "/inspections/report", _content, query=query)


def inspection(inspection_id: str) -> Call[models.Inspection]:
    """`GET /inspections/{inspection_id}`."""
    return Call("GET", "/inspections/{inspection_id}", _json(models.Inspection), {"inspection_id": inspection_id})


def inspection_image(inspection_id: str, side: int | None) -> Call[bytes]:
    """`GET /inspections/{inspection_id}/image`."""
    route = "/inspections/{inspection_id}/image"
    return Call("GET", route, _content, {"inspection_id": inspection_id}, query=_texts(side=side))


def inspection_map(inspection_id: str) -> Call[bytes]:
    """`GET /inspections/{inspection_id}/map.png`."""
    return Call("GET", "/inspections/{inspection_id}/map.png", _content, {"inspection_id": inspection_id})


def inspection_heat_map(inspection_id: str) -> Call[bytes]:
    """`GET /inspections/{inspection_id}/heat.png`."""
    return Call("GET", "/inspections/{inspection_id}/heat.png", _content, {"inspection_id": inspection_id})


def set_label(
    inspection_id: str, label: models.Label | None, confirm: bool, details: DefectDetails
) -> Call[models.Inspection]:
    """`POST /inspections/{inspection_id}/feedback`."""
    route = "/inspections/{inspection_id}/feedback"
    feedback = {"label": label or "none", "confirm": confirm, **details}
    return Call("POST", route, _json(models.Inspection), {"inspection_id": inspection_id}, json=feedback)


# Review


def review(
    category: str | None, reason: models.ReviewReason | None, cursor: str | None, page_size: int
) -> Call[models.ReviewPage]:
    """`GET /review`, one page."""
    query = _texts(category=category, reason=reason, cursor=cursor, limit=page_size)
    return Call("GET", "/review", _json(models.ReviewPage), query=query)


def decide(inspection_ids: Sequence[str], decision: ReviewDecision, confirm: bool) -> Call[models.ReviewResults]:
    """`POST /review`, of as many as fit into one request."""
    body = {"inspections": list(inspection_ids), "decision": decision, "confirm": confirm}
    return Call("POST", "/review", _json(models.ReviewResults), json=body)


# Stations


def stations() -> Call[models.Stations]:
    """`GET /stations`."""
    return Call("GET", "/stations", _json(models.Stations))


def report_station(name: str, report: StationReport) -> Call[models.Station]:
    """`PUT /stations/{name}`."""
    return Call("PUT", "/stations/{name}", _json(models.Station), {"name": name}, json=_json_values(asdict(report)))


def send_station_frame(name: str, image: ImageInput, age_s: float) -> Call[models.StationWatch]:
    """`PUT /stations/{name}/frame`."""
    form, files = _texts(age_s=age_s), (to_image_file(image),)
    return Call("PUT", "/stations/{name}/frame", _json(models.StationWatch), {"name": name}, form=form, images=files)


def station_frame(name: str) -> Call[StationFrame | None]:
    """`GET /stations/{name}/frame`."""
    return Call("GET", "/stations/{name}/frame", _frame, {"name": name})


# Administration


def storage() -> Call[models.Storage]:
    """`GET /storage`."""
    return Call("GET", "/storage", _json(models.Storage))


def access() -> Call[models.Access]:
    """`GET /access`."""
    return Call("GET", "/access", _json(models.Access))


def api_keys() -> Call[models.ApiKeys]:
    """`GET /keys`."""
    return Call("GET", "/keys", _json(models.ApiKeys))


def create_api_key(
    name: str, role: models.Role, expires_in_days: float | None, requests_per_minute: int | None
) -> Call[models.NewApiKey]:
    """`POST /keys`."""
    limits = {"expires_in_days": expires_in_days, "requests_per_minute": requests_per_minute}
    return Call("POST", "/keys", _json(models.NewApiKey), json={"name": name, "role": role, **limits}, repeatable=False)


def revoke_api_key(key_id: str) -> Call[models.ApiKey]:
    """`DELETE /keys/{key_id}`."""
    return Call("DELETE", "/keys/{key_id}", _json(models.ApiKey), {"key_id": key_id})


def audit(
    actor: str | None, action: str | None, target: str | None, cursor: str | None, page_size: int
) -> Call[models.AuditPage]:
    """`GET /audit`, one page."""
    query = _texts(actor=actor, action=action, target=target, cursor=cursor, limit=page_size)
    return Call("GET", "/audit", _json(models.AuditPage), query=query)


# Health


def live() -> Call[models.Live]:
    """`GET /healthz`."""
    return Call("GET", "/healthz", _json(models.Live))


def ready() -> Call[models.Ready]:
    """`GET /readyz`."""
    return Call("GET", "/readyz", _json(models.Ready))


def version() -> Call[models.Version]:
    """`GET /version`."""
    return Call("GET", "/version", _json(models.Version))


def _json(kind: type[M]) -> Callable[[httpx.Response], M]:
    def parse(response: httpx.Response) -> M:
        try:
            value = response.json()
        except ValueError as error:
            raise InvalidResponse(f"{response.url} returned {response.status_code} without JSON.") from error
        return deserialize(kind, value)

    return parse


def _content(response: httpx.Response) -> bytes:
    return response.content


def _frame(response: httpx.Response) -> StationFrame | None:
    if response.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        return StationFrame(response.content, int(response.headers["age"]))
    except (KeyError, ValueError) as error:
        raise InvalidResponse(f"{response.url} returned a frame without its age.") from error


def _json_values(value: Any) -> Any:
    """A value with its times in ISO 8601, as JSON has none."""
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {name: _json_values(item) for name, item in value.items()}
        case tuple():
            return [_json_values(item) for item in value]
        case _:
            return value


def _texts(**values: object) -> dict[str, str]:
    """Values as text for a query or a form; None is left out."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _segment(name: str, text: str) -> str:
    """Text as one segment of a path. InvalidRequest for what would make it another path."""
    if text in ("", ".", ".."):
        raise _invalid_request(f"{text!r} is no {name.replace('_', ' ')}.")
    return quote(text, safe="")


def _invalid_request(detail: str) -> Problem:
    """The problem of text that cannot be encoded into a request, as the service would report it."""
    return make_problem(ProblemDetails("/problems/invalid-request", "Invalid request", 422, detail), None, {})


def _parse_problem(response: httpx.Response) -> Problem:
    """The problem in a response; made from its status when a proxy or a gateway returned something else."""
    retry_after = _retry_after(response.headers)
    try:
        body = response.json()
        details = deserialize(ProblemDetails, body)
    except (ValueError, InvalidResponse):
        text = " ".join(response.text.split())[:200]
        detail = f"{response.url} returned {response.status_code} {response.reason_phrase}: {text}"
        details = ProblemDetails("about:blank", response.reason_phrase, response.status_code, detail)
        return make_problem(details, retry_after, {})
    fields = ProblemDetails.__dataclass_fields__
    problem = make_problem(details, retry_after, {name: value for name, value in body.items() if name not in fields})
    if isinstance(problem, ConfirmationNeeded):
        problem.effect = deserialize(ReferenceEffect, body.get("effect"))
        problem.confirm_role = deserialize(str, body.get("confirm_role"))
    return problem


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds in Retry-After, a number or a time; a time is compared with the response's own Date."""
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None
