"""The console's files as they are served: from this machine only, and each version under an address of its own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOLDER = Path(__file__).parent / "static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")  # Swagger UI writes its own
_ASKED_AGAIN = "no-cache"  # a browser may keep it, and asks each time whether it is still the one
_KEPT = "max-age=31536000, immutable"


class _Files(StaticFiles):
    """The files of one version under `/<version>/`, which a browser need not ask for again.

    Under another version's address, which a page of another replica may name during an upgrade, they are the same, but
    not kept.
    """

    def __init__(self, folder: Path, version: str) -> None:
        super().__init__(directory=folder)
        self._version = version

    def get_path(self, scope: Scope) -> str:
        return super().get_path(scope).partition(os.sep)[2]

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        version = super().get_path(scope).partition(os.sep)[0]
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = _KEPT if version == self._version else _ASKED_AGAIN
        return response


def install(app: FastAPI) -> None:
    """The console at `/` and `/operator`, its files under `/console`, and the description of the API at `/docs`."""
    version = _version()
    pages = {
        name: (_FOLDER / f"{name}.html").read_text().replace('"console/', f'"console/{version}/')
        for name in ("index", "docs")
    }

    @app.get("/", include_in_schema=False)
    async def console() -> HTMLResponse:
        return HTMLResponse(pages["index"], headers=_headers(_POLICY))

    @app.get("/operator", include_in_schema=False)
    def operator(request: Request) -> RedirectResponse:
        # Relative, so that a proxy may show it under any path.
        return RedirectResponse(f"./#/operator{'?' if request.url.query else ''}{request.url.query}", 307)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(pages["docs"], headers=_headers(_DOCS_POLICY))

    app.mount("/console", _Files(_FOLDER, version))


def _headers(policy: str) -> dict[str, str]:
    """Of a page, which names the version of its files: an upgrade shows at once."""
    return {"Content-Security-Policy": policy, "Cache-Control": _ASKED_AGAIN}


def _version() -> str:
    """The same wherever the files are the same."""
    digest = hashlib.sha256()
    for path in sorted(path for path in _FOLDER.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(_FOLDER)} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
