"""Rejects query parameters that the route does not declare, that repeat, or that are not UTF-8."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote_to_bytes

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from indexer.text import TextRejected, readable, utf8
from service.http.problem_types import ProblemError


async def check_query_parameters(request: Request) -> None:
    """Reject undeclared, repeated or undecodable parameters instead of ignoring or misreading them. ProblemError."""
    query: bytes = request.scope["query_string"]
    for part, raw in (("path", request.scope["raw_path"]), ("query", query)):
        try:
            utf8(unquote_to_bytes(raw))
        except TextRejected as refused:
            raise ProblemError("invalid-request", f"The request's {part} {refused}.") from None
    declared = _declared(request.scope["route"])
    names = set[str]()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in declared:
            accepted = f"this route has {', '.join(sorted(declared))}" if declared else "this route has none"
            raise ProblemError("invalid-request", f"Unknown query parameter {readable(name)!r}: {accepted}.")
        if name in names:
            raise ProblemError("invalid-request", f"The query parameter {name!r} is given more than once.")
        names.add(name)


def _declared(route: APIRoute) -> set[str]:
    """The query parameters of the route and of what it depends on."""
    return {field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)}
