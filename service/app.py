"""Puts the service together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer

from service import console
from service.auth import AccessControl
from service.http import problems
from service.http.middleware.access_log import Observed
from service.http.middleware.body_limit import BodyLimit
from service.http.middleware.head import HeadAsGet
from service.http.middleware.header_limit import HeaderLimit
from service.http.middleware.headers import AnswerHeaders
from service.http.middleware.request_id import RequestId
from service.http.middleware.root_path import RootPath
from service.http.query_parameters import only_declared
from service.routes import admin, categories, detect, health, inspections, preview, references, storage
from service.state import Runtime

_DESCRIPTION = """Finds defects in pictures of products with no training.

Teach it a product with `POST /references`; ask about a part with `POST /detect`. Every error is
`application/problem+json` with a stable `type` and a `request_id`."""


def create_app(running: Runtime) -> FastAPI:
    """The application around what `Runtime.start` made. At its end it finishes accepted work and stops that."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime = running
        asyncio.get_running_loop().set_default_executor(running.threads.catalogue.executor)
        try:
            await running.threads.files(running.begin)
            yield
        finally:
            await running.threads.files(running.stop)

    settings = running.settings
    app = FastAPI(
        title="Touchstone", version=version("touchstone"), description=_DESCRIPTION, lifespan=lifespan,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    problems.install(app)
    app.add_middleware(
        BodyLimit, most_bytes=settings.max_request_bytes, most_json_bytes=settings.max_json_bytes,
        seconds=settings.body_seconds, bytes_per_second=settings.body_bytes_per_second,
        detecting=running.detecting.held_bytes, others=running.onboarding.held_bytes,
    )  # fmt: skip
    ring = None if settings.access == "open" else running.ring
    app.add_middleware(
        AccessControl, ring=ring, look_up=running.key_sync.soon, requests_per_minute=settings.requests_per_minute,
        host=settings.host,
    )  # fmt: skip
    app.add_middleware(HeaderLimit, most=settings.max_headers, most_bytes=settings.max_header_bytes)
    app.add_middleware(RequestId)
    app.add_middleware(AnswerHeaders, version=lambda: running.library.memory.version)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Observed, metrics=running.metrics, tracing=running.tracing)
    app.add_middleware(RootPath, root_path=settings.root_path)
    # The door is `AccessControl`; this only lets /docs ask for the key that it wants.
    told = [] if ring is None else [Depends(HTTPBearer(auto_error=False, description="An API key, ts_…"))]
    checked = [Depends(only_declared)]
    for room in (detect, references, categories, preview, inspections, storage, admin, health):
        app.include_router(room.router, dependencies=[*told, *checked])
    app.include_router(health.probes, dependencies=checked)
    console.install(app)
    return app
