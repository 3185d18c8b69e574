"""An OpenID Connect provider as a process of its own, built with Authlib: PKCE, a client's secret, keys that change."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.helpers.forked import ForkedProcess
from tests.helpers.server_process import START_SECONDS, free_port

CLIENT_ID, CLIENT_SECRET = "touchstone", "a secret: with + and %"
PEOPLE: dict[str, dict[str, Any]] = {
    "mia": {"name": "Mia Engineer", "plant": {"groups": ["everybody", "line-leads"]}},
    "omar": {"name": "Omar Operator", "plant": {"groups": ["inspection"]}},
    "gast": {"name": "Gast", "plant": {"groups": ["everybody"]}},
    "nora": {"name": "Nora", "userinfo": {"plant": {"groups": ["line-leads", "inspection"]}}},
}
ROLES = '{"inspection": "operator", "line-leads": "engineer"}'


class OidcProvider:
    """The provider; its log-in page has a button for each of PEOPLE."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        log = folder / f"provider-{self.port}.log"
        self._process = ForkedProcess(_serve, self.port, environment=os.environ, output=log)
        end = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            try:
                httpx.get(f"{self.issuer}/jwks")
                return
            except httpx.TransportError:
                time.sleep(0.05)

    def __enter__(self) -> OidcProvider:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def settings(self) -> dict[str, str]:
        """What a service is told about it, without the prefix of variables."""
        return {
            "OIDC_ISSUER": self.issuer,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_NAME": "Plant directory",
            "OIDC_ROLE_CLAIM": "plant.groups",
            "OIDC_ROLES": ROLES,
        }

    def log_in(self, authorization_url: str, who: str) -> dict[str, str]:
        """What the provider sends back to the console once somebody has logged in there."""
        response = httpx.post(authorization_url, data={"sub": who})
        assert response.status_code == 302, response.text
        return dict(httpx.URL(response.headers["location"]).params)

    def change(self, **behaviour: object) -> None:
        """Behave otherwise: `key` renews it, `lifetime` of ID tokens in seconds, `claims` that they hold instead."""
        httpx.post(f"{self.issuer}/behaviour", json=behaviour).raise_for_status()


def _serve(port: int) -> None:
    import warnings

    from authlib.integrations.flask_oauth2 import AuthorizationServer
    from authlib.oauth2.rfc6749 import AuthorizationCodeGrant, ClientMixin
    from authlib.oauth2.rfc7636 import CodeChallenge
    from authlib.oidc.core import OpenIDCode, UserInfo
    from flask import Flask, jsonify, redirect, request
    from joserfc.jwk import KeySet, RSAKey

    warnings.simplefilter("ignore")
    codes: dict[str, Any] = {}
    tokens: dict[str, Any] = {}
    behaviour: dict[str, Any] = {"key": 1, "lifetime": 60, "claims": {}}
    keys = {1: RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})}
    issuer = f"http://127.0.0.1:{port}"

    class Client(ClientMixin):  # type: ignore[misc]
        def get_client_id(self) -> str:
            return CLIENT_ID

        def get_default_redirect_uri(self) -> None:
            return None

        def get_allowed_scope(self, scope: str) -> str:
            return scope

        def check_redirect_uri(self, redirect_uri: str) -> bool:
            return redirect_uri.startswith(("http://127.0.0.1:", "http://localhost"))

        def check_client_secret(self, client_secret: str) -> bool:
            return client_secret == CLIENT_SECRET

        def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
            return method == "client_secret_basic"

        def check_response_type(self, response_type: str) -> bool:
            return response_type == "code"

        def check_grant_type(self, grant_type: str) -> bool:
            return grant_type == "authorization_code"

    class Person:
        def __init__(self, sub: str) -> None:
            self.sub = sub

        def get_user_id(self) -> str:
            return self.sub

    class Code:
        def __init__(self, payload: Any, sub: str) -> None:
            self.sub, self.redirect_uri = sub, payload.redirect_uri
            self.scope, self.nonce = payload.scope, payload.data.get("nonce")
            self.code_challenge = payload.data.get("code_challenge")
            self.code_challenge_method = payload.data.get("code_challenge_method")

        def get_redirect_uri(self) -> str:
            return str(self.redirect_uri)

        def get_scope(self) -> str:
            return str(self.scope)

        def get_nonce(self) -> str | None:
            return None if self.nonce is None else str(self.nonce)

        def get_auth_time(self) -> int:
            return int(time.time())

        def get_acr(self) -> None:
            return None

        def get_amr(self) -> None:
            return None

    class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012 - it is Authlib's own name and kind

        def save_authorization_code(self, code: str, request: Any) -> None:
            codes[code] = Code(request.payload, request.user.sub)

        def query_authorization_code(self, code: str, client: Any) -> Any:
            return codes.get(code)

        def delete_authorization_code(self, authorization_code: Any) -> None:
            for code in [code for code, kept in codes.items() if kept is authorization_code]:
                del codes[code]

        def authenticate_user(self, authorization_code: Any) -> Person:
            return Person(authorization_code.sub)

    class IdToken(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return any(code.nonce == nonce for code in codes.values())

        def get_encode_header(self, client: Any) -> dict[str, str]:
            return {"alg": "RS256", "kid": str(behaviour["key"])}

        def resolve_client_private_key(self, client: Any) -> Any:
            return keys[behaviour["key"]]

        def get_client_claims(self, client: Any) -> dict[str, Any]:
            return {"iss": issuer, "aud": [CLIENT_ID], "exp": int(time.time()) + behaviour["lifetime"]}

        def get_client_algorithm(self, client: Any) -> str:
            return "RS256"

        def generate_user_info(self, user: Any, scope: str) -> dict[str, Any]:
            told = {name: value for name, value in PEOPLE[user.sub].items() if name != "userinfo"}
            return UserInfo({"sub": user.sub, **told, **behaviour["claims"]})

    app = Flask(__name__)
    server = AuthorizationServer(
        app,
        query_client=lambda client_id: Client() if client_id == CLIENT_ID else None,
        save_token=lambda token, request: tokens.update({token["access_token"]: request.user.sub}),
    )
    server.register_grant(Grant, [IdToken(require_nonce=True), CodeChallenge(required=True)])

    @app.get("/.well-known/openid-configuration")
    def metadata() -> Any:
        return jsonify(
            issuer=issuer,
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            userinfo_endpoint=f"{issuer}/userinfo",
            jwks_uri=f"{issuer}/jwks",
            end_session_endpoint=f"{issuer}/logout",
            response_types_supported=["code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["RS256"],
            token_endpoint_auth_methods_supported=["client_secret_basic"],
        )

    @app.get("/jwks")
    def jwks() -> Any:
        return jsonify(KeySet([keys[behaviour["key"]]]).as_dict(private=False))

    @app.get("/authorize")
    def log_in_page() -> str:
        buttons = "".join(f"<button name=sub value={sub}>{PEOPLE[sub]['name']}</button>" for sub in PEOPLE)
        return f"<!doctype html><title>Plant directory</title><form method=post>{buttons}<button>Nobody</button></form>"

    @app.post("/authorize")
    def log_in() -> Any:
        sub = request.form.get("sub")
        user = None if sub is None else Person(sub)
        asked = server.create_oauth2_request(None)
        return server.create_authorization_response(asked, user, server.get_authorization_grant(asked))

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    @app.get("/userinfo")
    def userinfo() -> Any:
        sub = tokens[request.headers["Authorization"].removeprefix("Bearer ")]
        return jsonify(sub=sub, **PEOPLE[sub].get("userinfo", {}))

    @app.get("/logout")
    def log_out() -> Any:
        return redirect(request.args["post_logout_redirect_uri"])

    @app.post("/behaviour")
    def change() -> Any:
        behaviour.update(request.get_json())
        key_id = behaviour["key"]
        if key_id not in keys:
            keys[key_id] = RSAKey.generate_key(2048, {"kid": str(key_id), "use": "sig", "alg": "RS256"})
        return jsonify(behaviour)

    app.run("127.0.0.1", port, threaded=True)
