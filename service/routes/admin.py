"""`/access`, `/keys`, `/audit`: who am I, who may do what, and who did what."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from indexer.domain.api_key import ApiKey
from service.auth.api_key_cache import new_key
from service.auth.roles import Role
from service.http.problems import documented
from service.routes.dependencies import runtime
from service.schemas.administration import (
    AccessView,
    AuditEntryView,
    AuditPage,
    KeyBody,
    KeysAnswer,
    KeyView,
    NewKeyView,
)
from service.schemas.text import Text
from service.state import Runtime

router = APIRouter(tags=["administration"])


@router.get("/access", responses=documented())
async def access(request: Request, running: Annotated[Runtime, Depends(runtime)]) -> AccessView:
    """Who is asking, and what they may do."""
    actor, role = request.scope["access"]
    return AccessView(access=running.settings.access, name=actor.name, key_id=actor.key_id, role=role.word)


@router.get("/keys", responses=documented())
async def keys(running: Annotated[Runtime, Depends(runtime)]) -> KeysAnswer:
    """Every API key, oldest first, also those that have expired or were revoked. Secrets are not known to anybody."""
    found = await asyncio.to_thread(running.library.catalogue.api_keys.list)
    return KeysAnswer(keys=tuple(map(_view, found)))


@router.post("/keys", responses=documented())
async def create_key(body: KeyBody, running: Annotated[Runtime, Depends(runtime)]) -> NewKeyView:
    """Make a key. The answer holds its token, once: only a hash of it is kept."""
    made = new_key(body.name, Role[body.role.upper()], body.expires_in_days, body.requests_per_minute)
    await asyncio.to_thread(running.library.catalogue.api_keys.create, made.key)
    await asyncio.to_thread(running.ring.learn, made.key)
    return NewKeyView(**_view(made.key).model_dump(), token=made.token)


@router.delete("/keys/{key_id}", responses=documented("not-found"))
async def revoke_key(key_id: Text, running: Annotated[Runtime, Depends(runtime)]) -> KeyView:
    """End a key: here at once, in other replicas within a second. Ending it again changes nothing."""
    revoked = await asyncio.to_thread(running.library.catalogue.api_keys.revoke, key_id)
    await asyncio.to_thread(running.ring.learn, revoked)
    return _view(revoked)


@router.get("/audit", responses=documented())
async def audit(
    running: Annotated[Runtime, Depends(runtime)],
    actor: Annotated[Text | None, Query()] = None,
    action: Annotated[Text | None, Query(examples=["settings.changed"])] = None,
    target: Annotated[Text | None, Query()] = None,
    cursor: Annotated[Text | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditPage:
    """Every change, newest first: who, what, when, and how it was before and after."""
    trail = running.library.catalogue.audit
    page = await asyncio.to_thread(
        trail.entries, actor=actor, action=action, target=target, cursor=cursor, limit=limit
    )  # fmt: skip
    entries = tuple(AuditEntryView(**vars(entry)) for entry in page.items)
    return AuditPage(entries=entries, next_cursor=page.next_cursor)


def _view(key: ApiKey) -> KeyView:
    return KeyView(**{name: value for name, value in vars(key).items() if name != "digest"})
