"""`/sign-in`, `/session`: how people sign in at the identity provider, and out."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from indexer.domain.actor import Actor, acting
from service.auth.api_key_cache import generate_api_key
from service.auth.identity_provider import IdentityProvider, SignInAnswer
from service.errors import Conflict
from service.http.problem_types import ProblemError, documented_problems
from service.routes.dependencies import app_state
from service.schemas.administration import KeyView
from service.schemas.sign_in import RedirectUri, SessionRequest, SessionView, SignInStartView, SignInView
from service.state import AppState

router = APIRouter(tags=["administration"])
without_key = APIRouter(tags=["administration"])  # for those who have none yet


async def _identity_provider(state: Annotated[AppState, Depends(app_state)]) -> IdentityProvider:
    if state.identity_provider is None:
        raise ProblemError("not-found", "No identity provider is configured: see TOUCHSTONE_OIDC_ISSUER.")
    return state.identity_provider


Provider = Annotated[IdentityProvider, Depends(_identity_provider)]


@without_key.get("/sign-in", responses=documented_problems())
async def sign_in(state: Annotated[AppState, Depends(app_state)]) -> SignInView:
    """The identity provider at which people may sign in. A read-only service begins no sessions."""
    provider = None if state.settings.read_only else state.identity_provider
    return SignInView(provider=None if provider is None else provider.name)


@without_key.get("/sign-in/start", responses=documented_problems("not-found", "sign-in-failed", "provider-unavailable"))
async def start_sign_in(
    provider: Provider,
    redirect_uri: Annotated[RedirectUri, Query(description="Where the provider sends the browser back to.")],
) -> SignInStartView:
    """Begin to sign in at the identity provider: the authorization code flow of OpenID Connect with PKCE."""
    return SignInStartView(**asdict(await provider.start(redirect_uri)))


@without_key.post(
    "/session", responses=documented_problems("not-found", "sign-in-failed", "no-role", "provider-unavailable")
)
async def begin_session(
    request: Request, body: SessionRequest, provider: Provider, state: Annotated[AppState, Depends(app_state)]
) -> SessionView:
    """End a sign-in with a session: an API key with the role that the person's groups give them, which expires.

    Only this response contains its token.
    """
    person = await provider.finish(SignInAnswer(**body.model_dump()))
    days = state.settings.session_hours / 24
    generated = generate_api_key(person.name, person.role, days, subject=person.subject)
    acting.set(Actor(person.name, generated.key.id, request.scope["request_id"]))
    await asyncio.to_thread(state.reference_store.catalogue.api_keys.create, generated.key)
    await asyncio.to_thread(state.api_keys.learn, generated.key)
    view = KeyView.of(generated.key)
    return SessionView(**view.model_dump(), token=generated.token, end_session_url=person.end_session_url)


@router.delete("/session", responses=documented_problems("conflict"))
async def end_session(request: Request, state: Annotated[AppState, Depends(app_state)]) -> KeyView:
    """Sign out: end the session whose token the request has. An API key is no session, and stays."""
    actor, _ = request.scope["access"]
    key = state.api_keys.find(actor.key_id)
    if key is None or key.subject is None:
        raise Conflict("This is no session that somebody signed in to: an admin may revoke a key.")
    ended = await asyncio.to_thread(state.reference_store.catalogue.api_keys.revoke, key.id)
    await asyncio.to_thread(state.api_keys.learn, ended)
    return KeyView.of(ended)
