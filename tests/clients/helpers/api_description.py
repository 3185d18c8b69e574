"""Checks a client's traffic against the service's OpenAPI document, and lists every call that the client can make."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints
from urllib.parse import parse_qs

import httpx
from jsonschema import Draft202012Validator

from touchstone_client import AsyncClient, GeometryChoice, ImageFile, InspectionFilter, SettingsChanges, endpoints
from touchstone_client.endpoints import Call
from touchstone_client.models import PreviewedSettings
from touchstone_client.parameters import DefectDetails, Resolution, StationReport


class ValidatingTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Forwards requests; AssertionError when a request or its response is not as the document describes it."""

    def __init__(self, url: str) -> None:
        self._inner = httpx.HTTPTransport()
        self._document = httpx.get(f"{url}/openapi.json").json()
        self.used_routes: set[tuple[str, str]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Forward one request."""
        route, operation = self._operation(request)
        self.used_routes.add((request.method, route))
        self._validate_request(request, operation)
        response = self._inner.handle_request(request)
        response.read()
        documented = operation["responses"].get(str(response.status_code))
        assert documented is not None, f"{request.method} {route} does not document {response.status_code}"
        media_type = response.headers.get("content-type", "").partition(";")[0]
        schema = documented.get("content", {}).get(media_type, {}).get("schema")
        if media_type.endswith("json"):
            assert schema is not None, f"{request.method} {route} {response.status_code} does not document {media_type}"
            self._validate(schema, response.json())
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Forward one request of the asynchronous client."""
        await request.aread()
        response = self.handle_request(request)
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    async def aclose(self) -> None:
        """Close the connections."""
        self.close()

    def _operation(self, request: httpx.Request) -> tuple[str, dict[str, Any]]:
        values = request.url.path.strip("/").split("/")
        for route, methods in self._document["paths"].items():
            parts = route.strip("/").split("/")
            matches = len(parts) == len(values) and all(
                part == value or part.startswith("{") for part, value in zip(parts, values, strict=True)
            )
            if matches and request.method.lower() in methods:
                return route, methods[request.method.lower()]
        raise AssertionError(f"{request.method} {request.url.path} is not documented")

    def _validate_request(self, request: httpx.Request, operation: dict[str, Any]) -> None:
        documented = {(parameter["in"], parameter["name"].lower()) for parameter in operation.get("parameters", ())}
        for name in parse_qs(request.url.query.decode()):
            assert ("query", name) in documented, name
        if "idempotency-key" in request.headers:
            assert ("header", "idempotency-key") in documented
        body = request.read()
        content = operation.get("requestBody", {}).get("content", {})
        media_type = request.headers.get("content-type", "").partition(";")[0]
        if media_type == "application/json":
            self._validate(content[media_type]["schema"], json.loads(body))
        elif media_type:
            documented_fields = set(content[media_type]["schema"]["properties"])
            lines = body.split(b"form-data; name=")[1:]
            sent = {line.split(b'"')[1].decode() for line in lines if line.startswith(b'"')}
            assert sent <= documented_fields, sent - documented_fields

    def _validate(self, schema: dict[str, Any], value: object) -> None:
        resolvable = {**schema, "components": self._document.get("components", {})}
        errors = [error.message for error in Draft202012Validator(resolvable).iter_errors(value)]
        assert not errors, errors


class BlockingClient:
    """An asynchronous client with the methods of the synchronous one, so that one test exercises both."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return [item async for item in result] if inspect.isasyncgen(result) else await result

        return lambda *args, **kwargs: self._runner.run(call(*args, **kwargs))


_ARGUMENTS: dict[str, Any] = {
    "images": (ImageFile("p", b""),),
    "image": b"",
    "refuse": ("blurred",),
    "idempotency_key": "k",
    "inspection_ids": ("i",),
    "reference_ids": (1,),
    "changes": dict.fromkeys(SettingsChanges.__annotations__),
    "settings": dict.fromkeys(PreviewedSettings.__annotations__),
    "choice": dict.fromkeys(GeometryChoice.__annotations__),
    "details": dict.fromkeys(DefectDetails.__annotations__),
    "report": StationReport(datetime.now(UTC), 0, None, ()),
    "resolution": Resolution(1, 1.0, 1.0, "letterbox"),
    "filter": InspectionFilter("c", "normal", "s", "p", "good", datetime.now(UTC), datetime.now(UTC), "t", "x"),
}


def every_call() -> list[tuple[Call[Any], Any]]:
    """Each call that the client can make, with a value for every argument, and the type of its result."""
    calls = []
    for name, function in vars(endpoints).items():
        public = inspect.isfunction(function) and function.__module__ == endpoints.__name__ and name[0] != "_"
        if public and str(inspect.signature(function).return_annotation).startswith("Call["):
            call = function(
                **{parameter: _ARGUMENTS.get(parameter, 1) for parameter in inspect.signature(function).parameters}
            )
            calls.append((call, get_args(get_type_hints(function)["return"])[0]))
    return calls
