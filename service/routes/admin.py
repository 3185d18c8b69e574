"""`/access`, `/keys`, `/audit`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from service.auth.api_key_cache import generate_api_key
from service.auth.roles import Role
from service.http.problem_types import documented_problems
from service.routes.dependencies import PAGE_LIMIT, PageCursor, PageLimit, app_state
from service.schemas.administration import (
    AccessView,
    AuditEntryView,
    AuditPage,
    CreateKeyRequest,
    KeysResponse,
    KeyView,
    NewKeyView,
)
from service.schemas.text import Text
from service.state import AppState

router = APIRouter(tags=["administration"])


@router.get("/access", responses=documented_problems())
async def access(request: Request, state: Annotated[AppState, Depends(app_state)]) -> AccessView:
    """The API key of this request, and its role."""
    actor, role = request.scope["access"]
    key = state.api_keys.find(actor.key_id)
    return AccessView(
        access=state.settings.access,
        name=actor.name,
        key_id=actor.key_id,
        role=role.word,
        subject=None if key is None else key.subject,
    )


@router.get("/keys", responses=documented_problems())
async def keys(state: Annotated[AppState, Depends(app_state)]) -> KeysResponse:
    """All API keys, oldest first, including expired and revoked ones, and sessions, which have a `subject`.

    Tokens are not stored and cannot be shown.
    """
    api_keys = await asyncio.to_thread(state.reference_store.catalogue.api_keys.list)
    return KeysResponse(keys=tuple(map(KeyView.of, api_keys)))


@router.post("/keys", responses=documented_problems())
async def create_key(body: CreateKeyRequest, state: Annotated[AppState, Depends(app_state)]) -> NewKeyView:
    """Create a key. Only this response contains its token; the catalogue stores a hash."""
    generated = generate_api_key(body.name, Role[body.role.upper()], body.expires_in_days, body.requests_per_minute)
    await asyncio.to_thread(state.reference_store.catalogue.api_keys.create, generated.key)
    await asyncio.to_thread(state.api_keys.learn, generated.key)
    return NewKeyView(**KeyView.of(generated.key).model_dump(), token=generated.token)


@router.delete("/keys/{key_id}", responses=documented_problems("not-found"))
async def revoke_key(key_id: Text, state: Annotated[AppState, Depends(app_state)]) -> KeyView:
    """Revoke a key: immediately in this replica, within a second in others. Idempotent."""
    revoked = await asyncio.to_thread(state.reference_store.catalogue.api_keys.revoke, key_id)
    await asyncio.to_thread(state.api_keys.learn, revoked)
    return KeyView.of(revoked)


@router.get("/audit", responses=documented_problems())
async def audit(
    state: Annotated[AppState, Depends(app_state)],
    actor: Annotated[Text | None, Query()] = None,
    action: Annotated[Text | None, Query(examples=["settings.changed"])] = None,
    target: Annotated[Text | None, Query()] = None,
    cursor: PageCursor = None,
    limit: PageLimit = PAGE_LIMIT,
) -> AuditPage:
    """The audit trail, newest first: who changed what and when, with the values before and after."""
    trail = state.reference_store.catalogue.audit
    page = await asyncio.to_thread(trail.entries, actor=actor, action=action, target=target, cursor=cursor, limit=limit)
    entries = tuple(AuditEntryView(**vars(entry)) for entry in page.items)
    return AuditPage(entries=entries, next_cursor=page.next_cursor)
