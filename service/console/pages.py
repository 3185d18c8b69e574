"""The console's files as they are served: from this machine only, and each version under an address of its own."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router

_FOLDER = Path(__file__).parent / "static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")  # Swagger UI writes its own
_ASKED_AGAIN = "no-cache"  # a browser may keep it, and asks each time whether it is still the one
_KEPT = "max-age=31536000, immutable"


def install(app: FastAPI) -> None:
    """The console at `/` and `/operator`, its files under `/console`, and the description of the API at `/docs`.

    A browser need not ask again for the files of this version, under `/console/<version>/`. Under another version's
    address, which a page of another replica may name during an upgrade, they are the same, but not kept.
    """
    files, version = _files(), _version()
    pages = {
        name: files[f"{name}.html"].decode().replace('"console/', f'"console/{version}/') for name in ("index", "docs")
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

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        kept = _KEPT if request.path_params["version"] == version else _ASKED_AGAIN
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": kept}
        return Response(files[name], headers=headers, media_type=mimetypes.guess_type(name)[0])

    app.mount("/console", Router([Route("/{version}/{name:path}", file)]))


def _headers(policy: str) -> dict[str, str]:
    """Of a page, which names the version of its files: an upgrade shows at once."""
    return {"Content-Security-Policy": policy, "Cache-Control": _ASKED_AGAIN}


@cache
def _files() -> Mapping[str, bytes]:
    """The files by path, shared by all applications of a process: 2.5 MB, of which a page asks for 90 at once."""
    return {path.relative_to(_FOLDER).as_posix(): path.read_bytes() for path in _FOLDER.rglob("*") if path.is_file()}


@cache
def _version() -> str:
    """The same wherever the files are the same."""
    digest = hashlib.sha256()
    for name, content in sorted(_files().items()):
        digest.update(f"{name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
