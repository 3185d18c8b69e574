"""Sign-in at a real OpenID Connect provider process: roles, sessions, and everything that does not sign anybody in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from service.auth import Role
from service.settings import Settings
from tests.helpers.commands import touchstone
from tests.helpers.dripping_server import dripping_server
from tests.helpers.http_service import check_problem
from tests.helpers.oidc_provider import OidcProvider
from tests.helpers.plant import Plant

CONSOLE = "http://localhost/touchstone/"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    with OidcProvider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, provider: OidcProvider) -> Iterator[Plant]:
    made = Plant(tmp_path_factory.mktemp("data"), **{name.lower(): value for name, value in provider.settings.items()})
    with made.client:
        yield made


@pytest.fixture(autouse=True)
def usual(provider: OidcProvider) -> Iterator[None]:
    yield
    provider.change(key=1, lifetime=60, claims={})


def started(client: TestClient) -> dict[str, str]:
    response = client.get("/sign-in/start", params={"redirect_uri": CONSOLE})
    assert response.status_code == 200, response.text
    begun: dict[str, str] = response.json()
    return begun


def finished(client: TestClient, provider: OidcProvider, who: str, **other: str) -> httpx.Response:
    """The answer to a sign-in, with something else than belongs there."""
    begun = started(client)
    back = provider.log_in(begun["authorization_url"], who)
    assert back["state"] == begun["state"]
    kept = {name: begun[name] for name in ("code_verifier", "nonce")}
    return client.post("/session", json={"code": back["code"], **kept, "redirect_uri": CONSOLE, **other})


def test_people_sign_in_with_the_role_of_their_groups_and_out(plant: Plant, provider: OidcProvider) -> None:
    assert plant.client.get("/sign-in").json() == {"provider": "Plant directory"}
    response = finished(plant.client, provider, "mia")
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    session = response.json()
    assert session["role"] == "engineer"
    assert session["subject"] == f"{provider.issuer} mia"
    mine = {"Authorization": f"Bearer {session['token']}"}
    who = plant.client.get("/access", headers=mine).json()
    assert (who["name"], who["subject"], who["key_id"]) == ("Mia Engineer", session["subject"], session["id"])
    assert plant.client.get("/references", headers=mine).status_code == 200
    check_problem(plant.client.get("/keys", headers=mine), 403, "forbidden")

    admin = plant.bearer(Role.ADMIN)
    [listed] = [key for key in plant.client.get("/keys", headers=admin).json()["keys"] if key["subject"]]
    assert listed == {name: value for name, value in session.items() if name not in ("token", "end_session_url")}
    begun, ends = (datetime.fromisoformat(listed[name]) for name in ("created_at", "expires_at"))
    assert ends - begun == timedelta(hours=12)
    ended = plant.client.delete("/session", headers=mine)
    assert ended.json()["revoked_at"] is not None
    check_problem(plant.client.get("/access", headers=mine), 401, "unauthenticated")
    end = httpx.URL(session["end_session_url"]).params
    assert (end["post_logout_redirect_uri"], end["client_id"]) == (CONSOLE, "touchstone")
    trail = plant.client.get("/audit", params={"target": session["id"]}, headers=admin).json()["entries"]
    assert [(entry["actor"], entry["action"]) for entry in trail] == [
        ("Mia Engineer", "key.revoked"),
        ("Mia Engineer", "key.created"),
    ]
    assert trail[1]["after"]["subject"] == session["subject"]
    finished(plant.client, provider, "mia")  # with whose session the ended one leaves the list
    keys = plant.client.get("/keys", headers=admin).json()["keys"]
    assert session["id"] not in [key["id"] for key in keys]
    check_problem(plant.client.delete("/session", headers=admin), 409, "conflict")


def test_the_role_may_stand_in_the_user_information_and_the_highest_counts(
    plant: Plant, provider: OidcProvider
) -> None:
    assert finished(plant.client, provider, "omar").json()["role"] == "operator"
    assert finished(plant.client, provider, "nora").json()["role"] == "engineer"


def test_who_has_no_role_is_told_where_it_comes_from(plant: Plant, provider: OidcProvider) -> None:
    refused = finished(plant.client, provider, "gast")
    check_problem(refused, 403, "no-role")
    assert "'Gast'" in refused.json()["detail"]
    assert "'plant.groups'" in refused.json()["detail"]


@pytest.mark.parametrize("other", ["code_verifier", "nonce", "code", "redirect_uri"])
def test_nothing_of_another_sign_in_is_accepted(plant: Plant, provider: OidcProvider, other: str) -> None:
    values = {
        **{name: started(plant.client)[name] for name in ("code_verifier", "nonce")},
        "code": "never-issued-by-anybody",
        "redirect_uri": "http://localhost/elsewhere/",
    }
    check_problem(finished(plant.client, provider, "mia", **{other: values[other]}), 400, "sign-in-failed")


def test_a_code_signs_in_once(plant: Plant, provider: OidcProvider) -> None:
    begun = started(plant.client)
    back = provider.log_in(begun["authorization_url"], "mia")
    body = {"code": back["code"], "redirect_uri": CONSOLE, **{n: begun[n] for n in ("code_verifier", "nonce")}}
    assert plant.client.post("/session", json=body).status_code == 200
    check_problem(plant.client.post("/session", json=body), 400, "sign-in-failed")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": ["another"]}, "Audience"),
        ({"aud": ["touchstone", "another"]}, "another client"),
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"exp": 1}, "expired"),
        ({"iat": 4_000_000_000}, "not yet valid"),
        ({"sub": None, "name": None}, "sub"),
        ({"sub": "", "name": ""}, "sub is empty"),
        ({"sub": " ", "name": "Mia"}, "sub is empty"),
    ],
)
def test_id_tokens_that_are_not_for_this_client_now_are_refused(
    plant: Plant, provider: OidcProvider, claims: dict[str, object], reason: str
) -> None:
    provider.change(claims=claims)
    refused = finished(plant.client, provider, "mia")
    check_problem(refused, 400, "sign-in-failed")
    assert reason in refused.json()["detail"]


def test_the_provider_s_keys_may_change_without_a_restart(plant: Plant, provider: OidcProvider) -> None:
    assert finished(plant.client, provider, "mia").status_code == 200
    provider.change(key=2)
    assert finished(plant.client, provider, "mia").status_code == 200


def test_names_are_shown_by_the_rule_for_text(plant: Plant, provider: OidcProvider) -> None:
    provider.change(claims={"name": "Mia\n" + "x" * 500})
    name = finished(plant.client, provider, "mia").json()["name"]
    assert name.startswith("Mia\N{REPLACEMENT CHARACTER}x")
    assert len(name) == 128


def test_without_its_provider_keys_still_open_and_the_rest_is_told(tmp_path: Path) -> None:
    plant = Plant(
        tmp_path,
        oidc_issuer="http://127.0.0.1:9",
        oidc_client_id="touchstone",
        oidc_roles={"line-leads": "engineer"},
    )
    with plant.client as client:
        assert client.get("/sign-in").json() == {"provider": "127.0.0.1"}
        away = client.get("/sign-in/start", params={"redirect_uri": CONSOLE})
        check_problem(away, 503, "provider-unavailable")
        assert away.headers["retry-after"] == "5"
        assert client.get("/access", headers=plant.bearer(Role.LINE)).status_code == 200


def test_a_provider_whose_answer_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    with dripping_server() as issuer:
        plant = Plant(tmp_path, oidc_issuer=issuer, oidc_client_id="touchstone", oidc_roles={"line-leads": "engineer"})
        with plant.client as client:
            away = client.get("/sign-in/start", params={"redirect_uri": CONSOLE})
            check_problem(away, 503, "provider-unavailable")
            assert "TimeoutError" in away.json()["detail"]


def test_a_provider_with_another_name_is_not_taken_for_it(tmp_path: Path, provider: OidcProvider) -> None:
    settings = {name.lower(): value for name, value in provider.settings.items()}
    plant = Plant(tmp_path, **{**settings, "oidc_issuer": provider.issuer.replace("127.0.0.1", "localhost")})
    with plant.client as client:
        refused = client.get("/sign-in/start", params={"redirect_uri": CONSOLE})
        check_problem(refused, 503, "provider-unavailable")
        assert provider.issuer in refused.json()["detail"]


def test_a_service_without_a_provider_has_none(client: TestClient) -> None:
    assert client.get("/sign-in").json() == {"provider": None}
    check_problem(client.get("/sign-in/start", params={"redirect_uri": CONSOLE}), 404, "not-found")
    check_problem(client.delete("/session"), 409, "conflict")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"oidc_issuer": "http://sso.plant.example"}, "begins with https://"),
        ({"oidc_issuer": "sso.plant.example"}, "begins with https://"),
        ({"oidc_issuer": "https://sso.plant.example"}, "OIDC_CLIENT_ID"),
        ({"oidc_issuer": "https://sso.plant.example", "oidc_client_id": "x"}, "roles of groups"),
        ({"access": "open", "oidc_issuer": "https://sso.plant.example"}, "open access"),
        ({"oidc_roles": '{"a": "boss"}'}, "'operator'"),
        ({"oidc_roles": "a=operator"}, "oidc_roles"),
    ],
)
def test_half_a_configuration_is_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Settings(**{"access": "keys", **settings})


def test_a_command_names_the_setting_that_is_wrong(tmp_path: Path) -> None:
    ended = touchstone("serve", data=tmp_path, ACCESS="keys", OIDC_ROLES='{"a": "boss"}')
    assert ended.exit_code == 2
    assert ended.stderr.startswith("touchstone: TOUCHSTONE_OIDC_ROLES (a): ")
