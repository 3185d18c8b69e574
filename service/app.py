"""Assembles the FastAPI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.routing import BaseRoute

from service import console
from service.gauges import GaugeCollector
from service.http import problem_responses
from service.http.middleware.access_control import AccessControlMiddleware
from service.http.middleware.access_log import AccessLogMiddleware
from service.http.middleware.body_limit import BodyLimitMiddleware
from service.http.middleware.head import HeadMiddleware
from service.http.middleware.header_limit import HeaderLimitMiddleware
from service.http.middleware.headers import ResponseHeadersMiddleware
from service.http.middleware.read_only import ReadOnlyMiddleware
from service.http.middleware.request_id import RequestIdMiddleware
from service.http.middleware.root_path import RootPathMiddleware
from service.http.query_parameters import check_query_parameters
from service.routes import (
    admin,
    categories,
    coresets,
    datasets,
    detect,
    geometry,
    health,
    inspections,
    labelled_sets,
    preview,
    references,
    reports,
    review,
    sign_in,
    stations,
    storage,
    tuning,
)
from service.state import AppState

_DESCRIPTION = """Detects defects in product images without training.

Add images of good parts with `POST /references`; inspect a part with `POST /detect`. Every error response is
`application/problem+json` with a stable `type` and a `request_id`."""


def create_app(state: AppState) -> FastAPI:
    """The application around what `AppState.start` made. At its end it finishes accepted work and stops that."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.app_state = state
        asyncio.get_running_loop().set_default_executor(state.thread_pools.catalogue.executor)
        try:
            await state.thread_pools.files(state.begin)
            yield
        finally:
            await state.thread_pools.files(state.stop)

    state.metrics.registry.register(GaugeCollector(state))
    app = FastAPI(
        title="Touchstone",
        version=version("touchstone"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    problem_responses.install(app)
    _add_middleware(app, state)
    app.router.routes.extend(api_routes(open_access=state.settings.access == "open"))
    console.install(app)
    return app


def _add_middleware(app: FastAPI, state: AppState) -> None:
    """From the innermost, which sees a request last, to the outermost."""
    settings = state.settings
    app.add_middleware(
        BodyLimitMiddleware,
        max_bytes=settings.max_request_bytes,
        max_json_bytes=settings.max_json_bytes,
        seconds=settings.body_timeout_seconds,
        bytes_per_second=settings.min_body_bytes_per_second,
        detecting=state.detecting.held_bytes,
        others=state.onboarding.held_bytes,
    )
    if settings.read_only:
        app.add_middleware(ReadOnlyMiddleware)
    app.add_middleware(
        AccessControlMiddleware,
        api_keys=None if settings.access == "open" else state.api_keys,
        look_up=state.background.key_sync.soon,
        requests_per_minute=settings.requests_per_minute,
        host=settings.host,
    )
    app.add_middleware(HeaderLimitMiddleware, max_headers=settings.max_headers, max_bytes=settings.max_header_bytes)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(ResponseHeadersMiddleware, version=lambda: state.reference_store.memory.version)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(AccessLogMiddleware, metrics=state.metrics, tracing=state.tracing)
    app.add_middleware(RootPathMiddleware, root_path=settings.root_path)


@cache
def api_routes(*, open_access: bool) -> list[BaseRoute]:
    """The routes of the API, shared by all applications of a process: their signatures take 0.1 s to read."""
    router = APIRouter()
    checked = [Depends(check_query_parameters)]
    # `AccessControlMiddleware` checks keys; this only has the page /docs ask for one.
    documented = [] if open_access else [Depends(HTTPBearer(auto_error=False, description="An API key, ts_…"))]
    for module in (
        datasets,
        reports,
        detect,
        references,
        categories,
        coresets,
        labelled_sets,
        tuning,
        preview,
        geometry,
        inspections,
        review,
        stations,
        storage,
        admin,
        sign_in,
        health,
    ):
        router.include_router(module.router, dependencies=[*documented, *checked])
    for without_key in (health.probes, sign_in.without_key):
        router.include_router(without_key, dependencies=checked)
    return router.routes
