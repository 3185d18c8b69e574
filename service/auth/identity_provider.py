"""Sign-in at an OpenID Connect provider: the authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636)."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from indexer.text import MAX_LENGTH, readable
from service.auth.roles import Role
from service.errors import NoRole, ProviderUnavailable, SignInFailed
from service.loopback import is_loopback
from service.settings import Settings

if TYPE_CHECKING:  # only those who sign in at a provider need it: a start should not wait for its import
    import httpx

_SECONDS = 5.0  # for one request to the provider
_MAX_CONCURRENCY = 8  # sign-ins that wait for the provider: nobody is known yet who might be held to a rate
_LEEWAY_SECONDS = 30  # that its clock and ours may differ by
# With a public key: what the client's secret or nothing at all signs, anybody might have who should not.
_ALGORITHMS = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"))
_NAMES = ("name", "preferred_username", "email", "sub")  # claims, the first of which is shown


class SignInUnavailable(RuntimeError):
    """A provider is configured, but PyJWT is not installed."""


@dataclass(frozen=True)
class SignInStart:
    """Where a browser signs in, and what it keeps until it comes back: RFC 6749, RFC 7636."""

    authorization_url: str
    state: str
    nonce: str
    code_verifier: str


@dataclass(frozen=True)
class SignInAnswer:
    """What a browser brings back: the provider's code, and what it kept."""

    code: str
    code_verifier: str
    nonce: str
    redirect_uri: str


@dataclass(frozen=True)
class Person:
    """Somebody the provider vouches for. end_session_url: where the session there is ended, if it says where."""

    subject: str
    name: str
    role: Role
    end_session_url: str | None


class IdentityProvider:
    """The provider that the settings name. It keeps nothing: every sign-in reads the provider's metadata and keys anew,
    so that its changes need no restart, and any replica may finish what another one has begun.

    SignInUnavailable without the `oidc` extra.
    """

    def __init__(self, issuer: str, settings: Settings) -> None:
        try:
            import jwt  # noqa: F401
            from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: F401
        except ImportError:
            raise SignInUnavailable(
                "TOUCHSTONE_OIDC_ISSUER is set, without PyJWT: pip install 'touchstone[oidc]'"
            ) from None
        self._issuer, self._settings = issuer, settings
        self._waiting = asyncio.Semaphore(_MAX_CONCURRENCY)
        host = urlsplit(issuer).hostname or ""
        self._trust_env = not is_loopback(host)  # else it would ask HTTPS_PROXY for it
        self.name = settings.oidc_name or host

    async def start(self, redirect_uri: str) -> SignInStart:
        """Begin a sign-in that comes back to `redirect_uri`, which the provider checks. ProviderUnavailable."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": redirect_uri,
            "scope": self._settings.oidc_scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        async with self._connected() as client:
            endpoint = _url(await self._metadata(client), "authorization_endpoint")
        return SignInStart(_extended(endpoint, query), state, nonce, verifier)

    async def finish(self, answer: SignInAnswer) -> Person:
        """Who has signed in. SignInFailed, NoRole, ProviderUnavailable."""
        async with self._connected() as client:
            metadata = await self._metadata(client)
            tokens = await self._tokens(client, metadata, answer)
            id_token = tokens.get("id_token")
            if not isinstance(id_token, str):
                raise SignInFailed("The identity provider sent no ID token: the scopes must include openid.")
            keys = await self._json(client, client.build_request("GET", _url(metadata, "jwks_uri")))
            claims = self._verified(id_token, keys, answer.nonce)
            if _claim(claims, self._settings.oidc_role_claim) is None and "userinfo_endpoint" in metadata:
                claims = await self._with_userinfo(client, metadata, tokens, claims)
        name = next(str(claims[claim]) for claim in _NAMES if claims.get(claim))
        return Person(
            subject=readable(f"{self._issuer} {claims['sub']}", 2 * MAX_LENGTH),
            name=readable(name, MAX_LENGTH),
            role=self._role(claims, name),
            end_session_url=self._end_session_url(metadata, id_token, answer.redirect_uri),
        )

    def _connected(self) -> _Connection:
        return _Connection(self._waiting, self._trust_env)

    async def _json(
        self, client: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None = None
    ) -> dict[str, Any]:
        """A JSON object from the provider. ProviderUnavailable for anything else but a refusal: SignInFailed."""
        import httpx

        where = f"The identity provider at {readable(str(request.url.host))}"
        try:
            async with asyncio.timeout(_SECONDS):  # httpx itself waits so long for each part of an answer
                answer = await client.send(request, auth=auth)
            body = answer.json()
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailable(f"{where} does not answer ({type(error).__name__}).") from error
        except ValueError:
            raise ProviderUnavailable(f"{where} answers with {answer.status_code} and no JSON.") from None
        if answer.is_success and isinstance(body, dict):
            return body
        if answer.is_client_error and isinstance(body, dict) and "error" in body:  # RFC 6749, section 5.2
            reason = readable(f"{body['error']}: {body.get('error_description', '')}".rstrip(": "), 200)
            raise SignInFailed(f"The identity provider refused the sign-in ({reason}). Sign in again.")
        raise ProviderUnavailable(f"{where} answers {request.url.path} with {answer.status_code}.")

    async def _metadata(self, client: httpx.AsyncClient) -> dict[str, Any]:
        """The provider's metadata: OpenID Connect Discovery 1.0."""
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = await self._json(client, client.build_request("GET", url))
        if metadata.get("issuer") != self._issuer:
            issuer = readable(str(metadata.get("issuer")), 200)
            raise ProviderUnavailable(
                f"The identity provider calls itself {issuer!r}: TOUCHSTONE_OIDC_ISSUER must be the same."
            )
        return metadata

    async def _tokens(
        self, client: httpx.AsyncClient, metadata: Mapping[str, Any], answer: SignInAnswer
    ) -> dict[str, Any]:
        import httpx

        client_id, secret = self._settings.oidc_client_id or "", self._settings.oidc_client_secret
        form = {
            "grant_type": "authorization_code",
            "code": answer.code,
            "redirect_uri": answer.redirect_uri,
            "code_verifier": answer.code_verifier,
        }
        auth = None
        if secret is None:
            form["client_id"] = client_id
        elif "client_secret_basic" in metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            auth = httpx.BasicAuth(quote(client_id, safe=""), quote(secret, safe=""))  # RFC 6749, section 2.3.1
        else:
            form |= {"client_id": client_id, "client_secret": secret}
        return await self._json(client, client.build_request("POST", _url(metadata, "token_endpoint"), data=form), auth)

    def _verified(self, id_token: str, keys: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """The claims of an ID token, as OpenID Connect Core 1.0, section 3.1.3.7, has it checked."""
        import jwt

        client_id = self._settings.oidc_client_id
        try:
            header = jwt.get_unverified_header(id_token)
            candidates = [key for key in jwt.PyJWKSet.from_dict(dict(keys)).keys if key.public_key_use in ("sig", None)]
            if "kid" in header:
                candidates = [key for key in candidates if key.key_id == header["kid"]]
            if len(candidates) != 1 or header.get("alg") not in _ALGORITHMS:
                raise SignInFailed("The ID token is signed with no public key of the identity provider.")
            claims: dict[str, Any] = jwt.decode(
                id_token,
                candidates[0],
                algorithms=[header["alg"]],
                audience=client_id,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.PyJWTError as error:
            raise SignInFailed(f"The ID token is not valid: {readable(str(error), 200)}.") from error
        if not secrets.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise SignInFailed("The ID token belongs to another sign-in. Sign in again.")
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != client_id:
            raise SignInFailed("The ID token was issued to another client.")
        if not str(claims["sub"]).strip():
            raise SignInFailed("The ID token does not say whose it is: its claim sub is empty.")
        return claims

    async def _with_userinfo(
        self,
        client: httpx.AsyncClient,
        metadata: Mapping[str, Any],
        tokens: Mapping[str, Any],
        claims: dict[str, Any],
    ) -> dict[str, Any]:
        """The claims with those that the provider tells at its userinfo endpoint only."""
        headers = {"Authorization": f"Bearer {tokens.get('access_token')}"}
        request = client.build_request("GET", _url(metadata, "userinfo_endpoint"), headers=headers)
        more = await self._json(client, request)
        if more.get("sub") != claims["sub"]:
            raise SignInFailed("The identity provider's user information is of somebody else.")
        return {**more, **claims}

    def _role(self, claims: Mapping[str, Any], name: str) -> Role:
        """The highest role of the groups that the claims name. NoRole."""
        claim = self._settings.oidc_role_claim
        groups = _claim(claims, claim)
        words = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        roles = self._settings.oidc_roles
        roles_held = [Role[roles[group].upper()] for group in words if isinstance(group, str) and group in roles]
        if not roles_held:
            who = readable(name, MAX_LENGTH)
            raise NoRole(f"{who!r} is in no group that has a role here (claim {claim!r}): ask an administrator.")
        return max(roles_held)

    def _end_session_url(self, metadata: Mapping[str, Any], id_token: str, redirect_uri: str) -> str | None:
        """OpenID Connect RP-Initiated Logout 1.0."""
        if "end_session_endpoint" not in metadata:
            return None
        client_id = self._settings.oidc_client_id
        query = {"id_token_hint": id_token, "client_id": client_id, "post_logout_redirect_uri": redirect_uri}
        return _extended(_url(metadata, "end_session_endpoint"), query)


class _Connection:
    """A client for the requests of one sign-in. ProviderUnavailable where too many wait already."""

    def __init__(self, waiting: asyncio.Semaphore, trust_env: bool) -> None:
        import httpx

        self._waiting, self._client = waiting, httpx.AsyncClient(timeout=_SECONDS, trust_env=trust_env)

    async def __aenter__(self) -> httpx.AsyncClient:
        if self._waiting.locked():
            raise ProviderUnavailable("Too many people are signing in at once: try again.")
        await self._waiting.acquire()
        return await self._client.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        self._waiting.release()
        await self._client.__aexit__(*error)


def _url(metadata: Mapping[str, Any], name: str) -> str:
    url = metadata.get(name)
    if not isinstance(url, str) or urlsplit(url).scheme not in ("https", "http"):
        raise ProviderUnavailable(f"The identity provider's metadata has no {name}.")
    return url


def _extended(url: str, query: Mapping[str, str | None]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its name, which may itself hold dots, or by the path into objects that dots make of it."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
