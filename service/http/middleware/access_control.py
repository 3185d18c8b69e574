"""Authenticates every request, and checks its role, before its body is read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Future

from starlette.types import ASGIApp, Receive, Scope, Send

from indexer.domain.actor import Actor, acting
from indexer.domain.api_key import ApiKey
from service.auth.api_key_cache import ApiKeyCache
from service.auth.rate_limit import RateLimiter
from service.auth.roles import Role, required_role
from service.http.middleware.root_path import route_path
from service.http.problem_responses import send_problem
from service.http.problem_types import ProblemError

_UNKNOWN = "Send a valid API key as 'Authorization: Bearer ts_…'; `touchstone keys create` makes one."
_SAFE = ("GET", "HEAD", "OPTIONS")
_PATIENCE_SECONDS = 5.0  # to wait for the catalogue to say whether a key exists
_PORT = re.compile(rb":\d*$")


class AccessControlMiddleware:
    """Admits requests with the role that their route requires, and sets the actor for the audit trail.

    With `api_keys` None access is open to every client that can connect. As protection against cross-site requests and
    DNS rebinding, browsers' cross-site writes are then refused, and so is every `Host` other than this machine's.

    look_up: has the api_keys refreshed, for a key that it does not know. host: the address listened on.
    """

    def __init__(
        self,
        app: ASGIApp,
        api_keys: ApiKeyCache | None,
        look_up: Callable[[], Future[None]],
        requests_per_minute: int,
        host: str,
    ) -> None:
        self._app = app
        self._api_keys = api_keys
        self._look_up = look_up
        self._hosts = {b"localhost", b"127.0.0.1", b"[::1]", host.lower().encode(), f"[{host}]".lower().encode()}
        self._requests_per_minute = requests_per_minute
        self._rates = RateLimiter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            if self._api_keys is None:
                self._refuse_foreign_pages(scope["method"], headers)
                actor, role = Actor("local", None, scope["request_id"]), Role.ADMIN
            else:
                actor, role = await self._admitted(self._api_keys, scope, headers)
        except ProblemError as problem:
            await send_problem(problem, scope, send)
            return
        scope["access"] = (actor, role)
        token = acting.set(actor)
        try:
            await self._app(scope, receive, send)
        finally:
            acting.reset(token)

    async def _admitted(self, api_keys: ApiKeyCache, scope: Scope, headers: dict[bytes, bytes]) -> tuple[Actor, Role]:
        role = required_role(scope["method"], route_path(scope))
        if role is Role.EVERYONE:
            return Actor("nobody", None, scope["request_id"]), role
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        key = await self._checked(api_keys, token.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise ProblemError(
                "unauthenticated", _UNKNOWN, headers={"WWW-Authenticate": "Bearer", "Connection": "close"}
            )
        limit = self._requests_per_minute if key.requests_per_minute is None else key.requests_per_minute
        if limit and (seconds := self._rates.wait(key.id, limit)):
            detail = (
                f"This key may make {limit} requests a minute; Retry-After is the time until the next one is allowed."
            )
            raise ProblemError("rate-limited", detail, headers={"Retry-After": str(seconds)})
        key_role = Role[key.role.upper()]
        if key_role < role:
            detail = f"This needs the role {role.word!r}; the key has {key_role.word!r}."
            raise ProblemError("forbidden", detail, headers={"Connection": "close"})
        return Actor(key.name, key.id, scope["request_id"]), key_role

    async def _checked(self, api_keys: ApiKeyCache, token: str) -> ApiKey | None:
        if not api_keys.knows(token):
            try:
                await asyncio.wait_for(asyncio.wrap_future(self._look_up()), _PATIENCE_SECONDS)
            except Exception:  # the task that follows the keys has logged it
                raise ProblemError(
                    "unavailable",
                    "The key cannot be checked: the database does not respond.",
                    headers={"Retry-After": "5"},
                ) from None
        return api_keys.check(token)

    def _refuse_foreign_pages(self, method: str, headers: dict[bytes, bytes]) -> None:
        if method not in _SAFE and headers.get(b"sec-fetch-site", b"none") in (b"cross-site", b"same-site"):
            raise ProblemError("forbidden", "Cross-site requests may not change anything.")
        requested = _PORT.sub(b"", headers.get(b"host", b"localhost")).lower()
        if requested not in self._hosts:
            detail = "Open access answers to names of this machine only, such as localhost: see the Host header."
            raise ProblemError("forbidden", detail)
