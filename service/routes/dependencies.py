"""What a request has of what may be under way, until it is answered: at first room for one picture, or it is 503."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from service.inference.in_flight import Lease
from service.state import Runtime


async def runtime(request: Request) -> Runtime:
    """The running service, for routes to depend on. A coroutine: any other function would cost a thread of the pool."""
    found: Runtime = request.app.state.runtime
    return found


async def _detection(running: Annotated[Runtime, Depends(runtime)]) -> AsyncIterator[Lease]:
    with running.detecting.pictures.lease(1) as pictures:
        yield pictures


async def _onboarding(running: Annotated[Runtime, Depends(runtime)]) -> AsyncIterator[Lease]:
    with running.onboarding.pictures.lease(1) as pictures:
        yield pictures


async def _held(running: Annotated[Runtime, Depends(runtime)]) -> AsyncIterator[Lease]:
    with running.onboarding.held_bytes.lease() as held:
        yield held


DetectionLease = Annotated[Lease, Depends(_detection)]
OnboardingLease = Annotated[Lease, Depends(_onboarding)]
HeldLease = Annotated[Lease, Depends(_held)]  # of bytes; none yet
