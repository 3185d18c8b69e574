"""FastAPI dependencies: the service's state, leases on its in-flight limits, parameters of several routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends, Query, Request

from indexer.domain.errors import InvalidCursor
from service.inference.in_flight import Lease
from service.schemas.text import Text
from service.state import AppState


async def app_state(request: Request) -> AppState:
    """The running service, for routes to depend on. A coroutine: any other function would cost a thread of the pool."""
    state: AppState = request.app.state.app_state
    return state


async def _after_answer() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as answered:
        yield answered


async def _detection(state: Annotated[AppState, Depends(app_state)]) -> AsyncIterator[Lease]:
    with state.detecting.images.lease(1) as images:
        yield images


async def _onboarding(state: Annotated[AppState, Depends(app_state)]) -> AsyncIterator[Lease]:
    with state.onboarding.images.lease(1) as images:
        yield images


async def _stored_bytes(state: Annotated[AppState, Depends(app_state)]) -> AsyncIterator[Lease]:
    with state.onboarding.held_bytes.lease() as lease:
        yield lease


PageCursor = Annotated[Text | None, Query(description="`next_cursor` of the previous page.")]
PageLimit = Annotated[int, Query(ge=1, le=1000)]
PAGE_LIMIT = 100  # rows of a page by default

AfterAnswer = Annotated[AsyncExitStack, Depends(_after_answer)]  # closed once the answer is sent, or has failed
DetectionLease = Annotated[Lease, Depends(_detection)]
OnboardingLease = Annotated[Lease, Depends(_onboarding)]
StoredBytesLease = Annotated[Lease, Depends(_stored_bytes)]  # of bytes; none yet


async def _restored_until(
    cursor: Annotated[Text | None, Query(description="`next_cursor` of the previous response.")] = None,
) -> int:
    """The id of the last reference that was restored; -1 before the first."""
    if cursor is not None and (not cursor.isdecimal() or len(cursor) > 18):
        raise InvalidCursor("not a cursor of restored references")
    return int(cursor or -1)


RestoredUntil = Annotated[int, Depends(_restored_until)]
RestoreLimit = Annotated[
    int, Query(ge=1, le=64, description="Maximum number of references that this request restores.")
]
