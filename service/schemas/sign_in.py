"""Signing in at the identity provider, and sessions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.administration import NewKeyView
from service.schemas.base import ResponseModel

# A URL of the console, which the provider compares with those that it knows: there is nothing to check here.
RedirectUri = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^https?://[!-~]+$")]
_Kept = Annotated[str, Field(min_length=16, max_length=128, pattern=r"^[A-Za-z0-9._~-]+$")]


class SignInView(ResponseModel):
    """How people may sign in besides with an API key. provider: its name; null: in no other way."""

    provider: str | None


class SignInStartView(ResponseModel):
    """Where to sign in. What else it holds stays in the browser until the provider sends it back.

    `state` must then be that of the provider's answer; the others go into `POST /session`.
    """

    authorization_url: str
    state: str
    nonce: str
    code_verifier: str


class SessionRequest(BaseModel):
    """What a browser brings back from the provider (`code`), and what `GET /sign-in/start` gave it."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[ -~]+$")]  # RFC 6749, appendix A.11
    code_verifier: _Kept
    nonce: _Kept
    redirect_uri: RedirectUri


class SessionView(NewKeyView):
    """A session: a key of somebody who signed in, until it expires or they sign out."""

    end_session_url: str | None = Field(description="Where the provider ends its own session; null: it does not say.")
