"""Which exception each of the service's errors becomes, and what an unreadable response becomes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.http.problem_types import TYPES
from tests.clients.helpers.scripted_server import scripted_server
from tests.clients.helpers.service_responses import error_response
from touchstone_client import (
    NO_RETRIES,
    AsyncClient,
    Client,
    Conflict,
    ImageRejected,
    InternalError,
    InvalidRequest,
    InvalidResponse,
    NoReferences,
    NotFound,
    PermissionDenied,
    Problem,
    StorageFull,
    TooLarge,
    Unavailable,
)

EXCEPTIONS: list[tuple[str, int, type[Problem]]] = [
    ("invalid-request", 422, InvalidRequest),
    ("method-not-allowed", 405, InvalidRequest),
    ("malformed-request", 400, InvalidRequest),
    ("headers-too-large", 431, InvalidRequest),
    ("image-rejected", 422, ImageRejected),
    ("image-too-large", 413, ImageRejected),
    ("unsupported-format", 415, ImageRejected),
    ("request-too-large", 413, TooLarge),
    ("unauthenticated", 401, PermissionDenied),
    ("forbidden", 403, PermissionDenied),
    ("not-found", 404, NotFound),
    ("conflict", 409, Conflict),
    ("no-references", 409, NoReferences),
    ("queue-full", 503, Unavailable),
    ("not-ready", 503, Unavailable),
    ("rate-limited", 429, Unavailable),
    ("request-timeout", 408, Unavailable),
    ("deadline-exceeded", 504, Unavailable),
    ("too-many-connections", 503, Unavailable),
    ("storage-full", 507, StorageFull),
    ("internal", 500, InternalError),
    ("unknown-to-this-client", 418, InvalidRequest),
]


@pytest.mark.parametrize(("slug", "status", "exception"), EXCEPTIONS, ids=[slug for slug, _, _ in EXCEPTIONS])
def test_every_problem_type_has_its_exception(slug: str, status: int, exception: type[Problem]) -> None:
    with scripted_server(error_response(slug, status)) as server, Client(server.url, retries=NO_RETRIES) as client:
        with pytest.raises(exception) as caught:
            client.live()
        assert type(caught.value) is exception
        assert caught.value.details.request_id == "r"


def test_every_problem_type_of_the_service_is_in_the_list_above() -> None:
    statuses = {status for _, status, _ in EXCEPTIONS}
    for slug, (status, _) in TYPES.items():
        assert slug in {known for known, _, _ in EXCEPTIONS} or status in statuses, slug


@pytest.mark.parametrize("text", ["", "<html>", "[1]", '{"status": 3}', "{}"])
def test_a_response_that_is_not_the_services_is_an_invalid_response(text: str) -> None:
    with scripted_server((200, {}, text)) as server, Client(server.url) as client, pytest.raises(InvalidResponse):
        client.live()


def test_a_malformed_url_is_rejected_when_the_client_is_created() -> None:
    constructors: list[Callable[[str], object]] = [Client, AsyncClient]
    for constructor in constructors:
        with pytest.raises(ValueError, match="not a service URL"):
            constructor("localhost:8000")
