"""FastAPI dependencies: the service's state, leases on its in-flight limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends, Request

from service.inference.in_flight import Lease
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


AfterAnswer = Annotated[AsyncExitStack, Depends(_after_answer)]  # closed once the answer is sent, or has failed
DetectionLease = Annotated[Lease, Depends(_detection)]
OnboardingLease = Annotated[Lease, Depends(_onboarding)]
StoredBytesLease = Annotated[Lease, Depends(_stored_bytes)]  # of bytes; none yet
