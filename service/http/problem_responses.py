"""Sends problems: as responses of the app, and below the framework."""

from __future__ import annotations

from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import Scope, Send

from service.http.middleware.root_path import route_path
from service.http.problem_types import MEDIA_TYPE, ProblemError
from service.http.problems import PROBLEMS, to_problem


async def problem_response(request: Request, error: Exception) -> JSONResponse:
    """The response for any error."""
    problem = to_problem(error)
    request.scope["problem"] = problem.kind
    if problem.kind == "method-not-allowed":
        problem.headers["Allow"] = _allowed(request)
    body = problem.body(request.scope.get("request_id"))
    return JSONResponse(body.model_dump(exclude_none=True), body.status, headers=problem.headers, media_type=MEDIA_TYPE)


def _allowed(request: Request) -> str:
    """Every method that the request's path has; the framework names those of one route only.

    A path without parameters, as `/references/remove`, is not taken for `/references/{reference_id}`.
    """
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    here = route_path(request.scope)
    matching = [here] if here in paths else [path for path in paths if compile_path(path)[0].match(here)]
    allowed = {method.upper() for path in matching for method in paths[path]}
    if "GET" in allowed:
        allowed.add("HEAD")
    return ", ".join(sorted(allowed))


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem."""
    for kind in PROBLEMS:
        app.add_exception_handler(cast(type[Exception], kind), problem_response)


async def send_problem(problem: ProblemError, scope: Scope, send: Send) -> None:
    """Answer a request with a problem, below the framework."""
    scope["problem"] = problem.kind
    body = problem.body(scope["request_id"])
    content = body.model_dump_json(exclude_none=True).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(content)), **problem.headers}
    await send(
        {
            "type": "http.response.start",
            "status": body.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": content})
