"""The console's files as they are served: from this machine only, and never taken from a cache unasked."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOLDER = Path(__file__).parent / "static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")  # Swagger UI writes its own


def _headers(policy: str) -> dict[str, str]:
    """A browser may keep a page, and asks each time whether it is still the one: an upgrade shows at once."""
    return {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_headers(_POLICY))
        return response


def install(app: FastAPI) -> None:
    """The console at `/` and `/operator`, its files under `/console`, and the description of the API at `/docs`."""

    @app.get("/", include_in_schema=False)
    def console() -> FileResponse:
        return FileResponse(_FOLDER / "index.html", headers=_headers(_POLICY))

    @app.get("/operator", include_in_schema=False)
    def operator(request: Request) -> RedirectResponse:
        # Relative, so that a proxy may show it under any path.
        return RedirectResponse(f"./#/operator{'?' if request.url.query else ''}{request.url.query}", 307)

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(_FOLDER / "docs.html", headers=_headers(_DOCS_POLICY))

    app.mount("/console", _Files(directory=_FOLDER, html=True))
