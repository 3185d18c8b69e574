"""Each request of the API as a value, so that both clients send the same ones.

Every call here but one may be repeated: reading changes nothing, removing or restoring twice does it once, the same
reference is a duplicate, settings and judgements replace themselves, and a detection carries a key under which it is
recorded once. Making a key twice makes two, so `create_key` is never sent again by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from touchstone_client import answers
from touchstone_client.errors import BadAnswer, ConfirmationNeeded, Effect, Problem, ProblemDetails, problem
from touchstone_client.parameters import InspectionQuery, MapFormat, SettingsChanges
from touchstone_client.pictures import Picture, PictureLike, picture
from touchstone_client.reading import read
from touchstone_client.text import readable

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request. route: as the API documents it, with its placeholders; read: makes the answer of a good response.

    repeatable: sending it twice does no more than sending it once.
    """

    method: str
    route: str
    read: Callable[[httpx.Response], T]
    path: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    def request(
        self, client: httpx.Client | httpx.AsyncClient, timeout: httpx.Timeout, files: ExitStack
    ) -> httpx.Request:
        """The request for one try; the pictures are open for as long as `files`. InvalidRequest, OSError."""
        images = [("images", (each.name, files.enter_context(each.open()))) for each in self.pictures]
        try:
            return client.build_request(
                self.method,
                self.route.format(**{name: quote(str(value), safe="") for name, value in self.path.items()}),
                params=dict(self.query),
                data=dict(self.form) or None,
                files=images or None,
                json=self.json,
                headers={name.encode(): value.encode() for name, value in self.headers.items()},
                timeout=timeout,
            )
        except UnicodeEncodeError as error:
            raise _unsendable(f"{readable(error.object, 80)!r} holds bytes that are not UTF-8.") from None

    def answer(self, response: httpx.Response) -> T:
        """What a response that has been read says. Problem, BadAnswer."""
        if response.is_success:
            return self.read(response)
        raise _problem(response)


def detect(
    pictures: Sequence[PictureLike], category: str | None, part_id: str | None, station: str | None, map: MapFormat,
    overlay: bool, min_version: int | None, key: str | None, bit_depth: answers.BitDepth | None,
) -> Call[answers.DetectAnswer]:  # fmt: skip
    """`POST /detect`. key: made up when there is none, so that a second try of the same call inspects nothing twice.

    InvalidRequest when the key cannot be a header.
    """
    if key is not None and (not key.isprintable() or key != key.strip()):
        raise _unsendable(f"The key {readable(key, 80)!r} holds characters that no header may hold.")
    form = _texts(
        category=category, part_id=part_id, station=station, map=map, overlay=overlay, min_version=min_version,
        bit_depth=bit_depth,
    )  # fmt: skip
    return Call(
        "POST", "/detect", _json(answers.DetectAnswer), form=form, pictures=tuple(picture(each) for each in pictures),
        headers={"Idempotency-Key": key or uuid.uuid4().hex},
    )  # fmt: skip


def only_result(answer: answers.DetectAnswer) -> answers.Detection:
    """The detection of a request that had one picture."""
    [result] = answer.results
    if isinstance(result, answers.Refused):
        raise problem(result.error, None, {})
    return result


def add_references(
    category: str,
    pictures: Sequence[Picture],
    refuse: Sequence[answers.FindingKind] | None,
    bit_depth: answers.BitDepth | None,
) -> Call[answers.ReferencesAnswer]:
    """`POST /references`."""
    refused = None if refuse is None else ",".join(refuse) or "none"
    form = _texts(category=category, refuse=refused, bit_depth=bit_depth)
    return Call("POST", "/references", _json(answers.ReferencesAnswer), form=form, pictures=tuple(pictures))


def references(category: str | None, cursor: str | None, limit: int, removed: bool) -> Call[answers.ReferencePage]:
    """`GET /references`, one page."""
    query = _texts(category=category, cursor=cursor, limit=limit, removed=removed)
    return Call("GET", "/references", _json(answers.ReferencePage), query=query)


def reference(reference_id: int) -> Call[answers.Reference]:
    """`GET /references/{reference_id}`."""
    return Call("GET", "/references/{reference_id}", _json(answers.Reference), {"reference_id": reference_id})


def reference_image(reference_id: int, side: int | None) -> Call[bytes]:
    """`GET /references/{reference_id}/image`."""
    return Call(
        "GET", "/references/{reference_id}/image", _content, {"reference_id": reference_id}, query=_texts(side=side)
    )


def remove_reference(reference_id: int) -> Call[answers.Removed]:
    """`DELETE /references/{reference_id}`."""
    return Call("DELETE", "/references/{reference_id}", _json(answers.Removed), {"reference_id": reference_id})


def restore_reference(reference_id: int) -> Call[answers.Reference]:
    """`POST /references/{reference_id}/restore`."""
    route = "/references/{reference_id}/restore"
    return Call("POST", route, _json(answers.Reference), {"reference_id": reference_id})


def categories() -> Call[answers.CategoriesAnswer]:
    """`GET /categories`."""
    return Call("GET", "/categories", _json(answers.CategoriesAnswer))


def category(name: str) -> Call[answers.Category]:
    """`GET /categories/{name}`."""
    return Call("GET", "/categories/{name}", _json(answers.Category), {"name": name})


def change_category(name: str, changes: SettingsChanges) -> Call[answers.Category]:
    """`PATCH /categories/{name}`."""
    return Call("PATCH", "/categories/{name}", _json(answers.Category), {"name": name}, json={**changes})


def remove_category(name: str) -> Call[answers.Removed]:
    """`DELETE /categories/{name}`."""
    return Call("DELETE", "/categories/{name}", _json(answers.Removed), {"name": name})


def preview(name: str, changes: SettingsChanges, limit: int) -> Call[answers.Preview]:
    """`POST /categories/{name}/preview`."""
    return Call(
        "POST", "/categories/{name}/preview", _json(answers.Preview), {"name": name}, query=_texts(limit=limit),
        json={**changes},
    )  # fmt: skip


def scores(name: str) -> Call[answers.Scores]:
    """`GET /categories/{name}/scores`."""
    return Call("GET", "/categories/{name}/scores", _json(answers.Scores), {"name": name})


def mask(name: str) -> Call[bytes]:
    """`GET /categories/{name}/region-of-interest.png`."""
    return Call("GET", "/categories/{name}/region-of-interest.png", _content, {"name": name})


def set_mask(name: str, given: PictureLike) -> Call[answers.Category]:
    """`PUT /categories/{name}/region-of-interest`."""
    route = "/categories/{name}/region-of-interest"
    return Call("PUT", route, _json(answers.Category), {"name": name}, pictures=(picture(given),))


def restart_drift(name: str) -> Call[answers.Category]:
    """`POST /categories/{name}/drift/restart`."""
    return Call("POST", "/categories/{name}/drift/restart", _json(answers.Category), {"name": name})


def inspections(matching: InspectionQuery, cursor: str | None, limit: int) -> Call[answers.InspectionPage]:
    """`GET /inspections`, one page."""
    query = _texts(**vars(matching), cursor=cursor, limit=limit)
    return Call("GET", "/inspections", _json(answers.InspectionPage), query=query)


def inspections_csv(matching: InspectionQuery) -> Call[str]:
    """`GET /inspections` as CSV."""
    query = _texts(**vars(matching), format="csv")
    return Call("GET", "/inspections", lambda response: response.text, query=query)


def trend(matching: InspectionQuery, points: int) -> Call[answers.Trend]:
    """`GET /inspections/trend`."""
    return Call("GET", "/inspections/trend", _json(answers.Trend), query=_texts(**vars(matching), points=points))


def inspection(inspection_id: str) -> Call[answers.Inspection]:
    """`GET /inspections/{inspection_id}`."""
    return Call("GET", "/inspections/{inspection_id}", _json(answers.Inspection), {"inspection_id": inspection_id})


def inspection_image(inspection_id: str, side: int | None) -> Call[bytes]:
    """`GET /inspections/{inspection_id}/image`."""
    route = "/inspections/{inspection_id}/image"
    return Call("GET", route, _content, {"inspection_id": inspection_id}, query=_texts(side=side))


def inspection_map(inspection_id: str) -> Call[bytes]:
    """`GET /inspections/{inspection_id}/map.png`."""
    return Call("GET", "/inspections/{inspection_id}/map.png", _content, {"inspection_id": inspection_id})


def inspection_heat(inspection_id: str) -> Call[bytes]:
    """`GET /inspections/{inspection_id}/heat.png`."""
    return Call("GET", "/inspections/{inspection_id}/heat.png", _content, {"inspection_id": inspection_id})


def judge(inspection_id: str, judgement: answers.Judgement | None, confirm: bool) -> Call[answers.Inspection]:
    """`POST /inspections/{inspection_id}/feedback`."""
    return Call(
        "POST", "/inspections/{inspection_id}/feedback", _json(answers.Inspection), {"inspection_id": inspection_id},
        json={"judgement": judgement or "none", "confirm": confirm},
    )  # fmt: skip


def storage() -> Call[answers.Storage]:
    """`GET /storage`."""
    return Call("GET", "/storage", _json(answers.Storage))


def access() -> Call[answers.Access]:
    """`GET /access`."""
    return Call("GET", "/access", _json(answers.Access))


def keys() -> Call[answers.KeysAnswer]:
    """`GET /keys`."""
    return Call("GET", "/keys", _json(answers.KeysAnswer))


def create_key(
    name: str, role: answers.Role, expires_in_days: float | None, requests_per_minute: int | None
) -> Call[answers.NewKey]:
    """`POST /keys`."""
    given = {
        "name": name, "role": role, "expires_in_days": expires_in_days, "requests_per_minute": requests_per_minute,
    }  # fmt: skip
    return Call("POST", "/keys", _json(answers.NewKey), json=given, repeatable=False)


def revoke_key(key_id: str) -> Call[answers.Key]:
    """`DELETE /keys/{key_id}`."""
    return Call("DELETE", "/keys/{key_id}", _json(answers.Key), {"key_id": key_id})


def audit(
    actor: str | None, action: str | None, target: str | None, cursor: str | None, limit: int
) -> Call[answers.AuditPage]:
    """`GET /audit`, one page."""
    query = _texts(actor=actor, action=action, target=target, cursor=cursor, limit=limit)
    return Call("GET", "/audit", _json(answers.AuditPage), query=query)


def live() -> Call[answers.Live]:
    """`GET /healthz`."""
    return Call("GET", "/healthz", _json(answers.Live))


def ready() -> Call[answers.Ready]:
    """`GET /readyz`."""
    return Call("GET", "/readyz", _json(answers.Ready))


def version() -> Call[answers.Version]:
    """`GET /version`."""
    return Call("GET", "/version", _json(answers.Version))


def _json(kind: type[A]) -> Callable[[httpx.Response], A]:
    def reader(response: httpx.Response) -> A:
        try:
            value = response.json()
        except ValueError as error:
            raise BadAnswer(f"{response.url} answered {response.status_code} without JSON.") from error
        return read(kind, value)

    return reader


def _content(response: httpx.Response) -> bytes:
    return response.content


def _texts(**values: object) -> dict[str, str]:
    """Values as they are written in a query or a form; None is left out."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _unsendable(detail: str) -> Problem:
    """What the service would say of text that cannot even be written down for it."""
    return problem(ProblemDetails("/problems/invalid-request", "Invalid request", 422, detail), None, {})


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds, whether they are said as such or as a time, which is by the clock of the machine that answered."""
    said = headers.get("retry-after", "")
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


def _problem(response: httpx.Response) -> Problem:
    """The problem in a response; one made up from its status when something between us and the service answered."""
    retry_after = _retry_after(response.headers)
    try:
        body = response.json()
        details = read(ProblemDetails, body)
    except (ValueError, BadAnswer):
        said = " ".join(response.text.split())[:200]
        detail = f"{response.url} answered {response.status_code} {response.reason_phrase}: {said}"
        details = ProblemDetails("about:blank", response.reason_phrase, response.status_code, detail)
        return problem(details, retry_after, {})
    known = ProblemDetails.__dataclass_fields__
    found = problem(details, retry_after, {name: value for name, value in body.items() if name not in known})
    if isinstance(found, ConfirmationNeeded):
        found.effect, found.confirm_role = read(Effect, body.get("effect")), read(str, body.get("confirm_role"))
    return found
