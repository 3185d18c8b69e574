"""Access control: every route with every role, the life of a key, and the audit trail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.api_key import ApiKey
from service.auth import ROUTE_ROLES, Role, generate_api_key
from service.auth.api_key_cache import ApiKeyCache
from service.auth.rate_limit import RateLimiter
from service.auth.roles import DEFAULT, KEY_ROLES, required_role
from service.settings import Settings
from tests.helpers.http_service import check_problem, files
from tests.helpers.part_images import part
from tests.helpers.plant import Plant


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    made = Plant(tmp_path_factory.mktemp("data"))
    with made.client:
        yield made


def routes(client: TestClient) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_the_documentation_asks_for_a_key_where_one_is_needed(plant: Plant) -> None:
    described = plant.client.get("/openapi.json").json()
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for method, path in routes(plant.client):
        needs = ROUTE_ROLES.get((method, path), DEFAULT) is not Role.EVERYONE
        assert ("security" in described["paths"][path][method.lower()]) is needs, (method, path)


def test_every_route_lets_in_exactly_the_roles_that_the_table_names(plant: Plant) -> None:
    tried = 0
    for method, template in routes(plant.client):
        path = re.sub(r"{[^}]*}", "1", template)
        minimum = ROUTE_ROLES.get((method, template), DEFAULT)
        assert required_role(method, path) is minimum, (method, template)
        for role in (Role.EVERYONE, *KEY_ROLES):
            headers = {} if role is Role.EVERYONE else plant.bearer(role)
            # The stream never ends by itself; a filter that it refuses ends it.
            query = {"verdict": "nonsense"} if path.endswith("/stream") else {}
            response = plant.client.request(method, path, headers=headers, params=query)
            where = f"{role.word} {method} {path}: {response.status_code}"
            if role >= minimum:
                assert response.status_code not in (401, 403), where
            elif role is Role.EVERYONE:
                check_problem(response, 401, "unauthenticated")
                assert response.headers["www-authenticate"] == "Bearer", where
            else:
                check_problem(response, 403, "forbidden")
            tried += 1
    assert tried > 60


def test_a_route_that_the_table_does_not_name_is_not_open() -> None:
    for path in ("/nowhere", "/detect/", "//keys", "/keys/", "/KEYS", "/audit/x", "/references/1/images"):
        assert required_role("GET", path) >= Role.ENGINEER, path
    assert required_role("TRACE", "/healthz") is Role.ENGINEER
    assert required_role("HEAD", "/healthz") is Role.EVERYONE
    open_to_all = {key for key, role in ROUTE_ROLES.items() if key[0] != "GET" and role is Role.EVERYONE}
    assert open_to_all == {("POST", "/session")}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic {0}",
        "{0}",
        "Bearer {0}x",
        "Bearer ts_{1}_" + "A" * 43,
        "Bearer ts_000000000000_{2}",
        "Bearer {0} {0}",
        "bearer\t{0}",
    ],
)
def test_what_is_not_a_key_opens_nothing(plant: Plant, header: str) -> None:
    token = plant.tokens[Role.ADMIN]
    _, key_id, secret = token.split("_", 2)
    response = plant.client.get("/version", headers={"Authorization": header.format(token, key_id, secret)})
    check_problem(response, 401, "unauthenticated")


def test_a_body_is_not_read_before_authentication(plant: Plant) -> None:
    seen: list[bytes] = []

    def body() -> Iterator[bytes]:
        for _ in range(100):
            seen.append(bytes(1 << 20))
            yield seen[-1]

    response = plant.client.patch("/categories/disc", content=body())
    check_problem(response, 401, "unauthenticated")


def test_a_key_is_made_used_and_revoked_over_http(plant: Plant) -> None:
    admin = plant.bearer(Role.ADMIN)
    body = {"name": "press-4", "role": "line", "expires_in_days": 2}
    made = plant.client.post("/keys", json=body, headers=admin).json()
    assert re.fullmatch(r"ts_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made["token"])
    mine = {"Authorization": f"Bearer {made['token']}"}
    who = plant.client.get("/access", headers=mine).json()
    assert who == {"access": "keys", "name": "press-4", "key_id": made["id"], "role": "line", "subject": None}
    listed = next(key for key in plant.client.get("/keys", headers=admin).json()["keys"] if key["id"] == made["id"])
    assert listed == {key: value for key, value in made.items() if key != "token"}
    ended = plant.client.delete(f"/keys/{made['id']}", headers=admin).json()
    assert ended["revoked_at"] is not None
    assert plant.client.delete(f"/keys/{made['id']}", headers=admin).json() == ended
    check_problem(plant.client.get("/access", headers=mine), 401, "unauthenticated")
    check_problem(plant.client.delete("/keys/nope", headers=admin), 404, "not-found")
    for wrong in ({"name": "", "role": "line"}, {"name": "x", "role": "boss"}, {**body, "expires_in_days": 0}):
        check_problem(plant.client.post("/keys", json=wrong, headers=admin), 422, "invalid-request")


def test_a_key_stops_at_its_expiry(database: str) -> None:
    catalogue = Catalogue.open(database)
    made = generate_api_key("shift", Role.LINE, days=1)
    late = ApiKey(**{**vars(made.key), "expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    catalogue.api_keys.create(late)
    ring = ApiKeyCache(catalogue.api_keys)
    ring.refresh()
    assert catalogue.api_keys.list() == (late,)
    assert ring.check(made.token) is None
    assert made.key.usable(datetime.now(UTC))
    catalogue.close()


def test_no_secret_is_in_the_catalogue(plant: Plant) -> None:
    path = plant.client.app.state.app_state.settings.data  # type: ignore[attr-defined]
    stored = b"".join(file.read_bytes() for file in path.glob("catalogue.sqlite*"))
    for token in plant.tokens.values():
        _, key_id, secret = token.split("_", 2)
        assert key_id.encode() in stored
        assert secret.encode() not in stored


def test_a_key_over_its_limit_gets_a_retry_after(tmp_path: Path) -> None:
    plant = Plant(tmp_path, requests_per_minute=12)
    generous = generate_api_key("generous", Role.LINE, requests_per_minute=0)
    plant.catalogue.api_keys.create(generous.key)
    with plant.client as client:
        codes = [client.get("/access", headers=plant.bearer(Role.LINE)).status_code for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        refused = client.get("/access", headers=plant.bearer(Role.LINE))
        check_problem(refused, 429, "rate-limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 5
        assert client.get("/access", headers=plant.bearer(Role.ENGINEER)).status_code == 200
        mine = {"Authorization": f"Bearer {generous.token}"}
        assert {client.get("/access", headers=mine).status_code for _ in range(30)} == {200}


def test_a_bucket_fills_as_time_passes() -> None:
    now = [0.0]
    rates = RateLimiter(lambda: now[0])
    assert [rates.wait("a", 60) for _ in range(11)] == [0] * 10 + [1]
    now[0] = 0.5
    assert rates.wait("a", 60) == 1
    now[0] = 1.0
    assert [rates.wait("a", 60), rates.wait("a", 60)] == [0, 1]
    assert rates.wait("b", 1) == 0
    assert rates.wait("b", 1) == 60


def test_every_change_is_in_the_audit_trail_with_its_author_and_what_was_different(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    with plant.client as client:
        engineer, admin = plant.bearer(Role.ENGINEER), plant.bearer(Role.ADMIN)
        body = files(part(1), part(2))
        added = client.post("/references", data={"category": "disc"}, files=body, headers=engineer).json()
        ids = [result["reference_id"] for result in added["results"]]
        client.post("/references", data={"category": "disc"}, files=body, headers=engineer)  # which changes nothing
        client.patch("/categories/disc", json={"k": 7}, headers={**admin, "X-Request-ID": "change-1"})
        client.patch("/categories/disc", json={"k": 7}, headers=admin)
        seen = client.post("/detect", files=files(part(3)), headers=plant.bearer(Role.LINE)).json()["results"][0]
        client.post(f"/inspections/{seen['id']}/feedback", json={"label": "defect"}, headers=engineer)
        client.delete(f"/references/{ids[0]}", headers=engineer)
        client.delete("/categories/disc", headers=engineer)
        assert client.get("/audit", headers=engineer).status_code == 403
        entries = client.get("/audit", headers=admin).json()["entries"][::-1]
        events = [(entry["actor"], entry["action"], entry["target"]) for entry in entries]
        assert events == [
            *(("touchstone", "key.created", token.split("_")[1]) for token in plant.tokens.values()),
            ("engineer", "references.added", "disc"),
            ("admin", "settings.changed", "disc"),
            ("engineer", "inspection.labelled", seen["id"]),
            ("engineer", "references.removed", str(ids[0])),
            ("engineer", "category.removed", "disc"),
        ]
        changed = entries[5]
        assert changed["before"] == {"k": 150}
        assert changed["after"]["k"] == 7
        assert changed["request_id"] == "change-1"
        assert changed["key_id"] == plant.tokens[Role.ADMIN].split("_")[1]
        assert entries[6]["after"]["label"] == "defect"
        assert entries[7]["before"] == {"references": [ids[0]]}
        page = client.get("/audit", params={"limit": 2, "actor": "engineer"}, headers=admin).json()
        rest = client.get("/audit", params={"actor": "engineer", "cursor": page["next_cursor"]}, headers=admin).json()
        assert [entry["id"] for entry in page["entries"] + rest["entries"]] == [
            entry["id"] for entry in entries[::-1] if entry["actor"] == "engineer"
        ]
        bad = client.get("/audit", params={"cursor": "x"}, headers=admin)
        check_problem(bad, 422, "invalid-request")


def test_every_response_has_security_headers_and_no_cors(plant: Plant) -> None:
    for path in ("/healthz", "/version", "/nowhere", "/openapi.json"):
        response = plant.client.get(
            path, headers={**plant.bearer(Role.ENGINEER), "Origin": "https://elsewhere.example"}
        )
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert not [name for name in response.headers if name.startswith("access-control-")]
        assert int(response.headers["x-index-version"]) >= 1
    requested = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    preflight = plant.client.options("/references", headers={**requested, **plant.bearer(Role.ENGINEER)})
    assert preflight.status_code == 405


def test_open_access_does_not_let_a_foreign_page_write(client: TestClient) -> None:
    for site, expected in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        response = client.post(
            "/references", data={"category": "disc"}, files=files(part(1)), headers={"Sec-Fetch-Site": site}
        )
        assert response.status_code == expected, site
    assert client.get("/access").json() == {
        "access": "open",
        "name": "local",
        "key_id": None,
        "role": "admin",
        "subject": None,
    }


def test_access_needs_keys_unless_open_which_needs_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOUCHSTONE_ACCESS")
    assert Settings().access == "keys"
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Settings(host=host, access="open").access == "open"
    for host in ("0.0.0.0", "::", "192.168.1.4", "plant.example"):
        with pytest.raises(ValueError, match="only on a loopback address"):
            Settings(host=host, access="open")
        assert Settings(host=host).access == "keys"


@pytest.mark.parametrize(
    "host", ["attacker.example", "attacker.example:8000", "localhost.attacker.example", "10.0.0.7"]
)
def test_open_access_answers_to_no_name_but_this_machines(client: TestClient, host: str) -> None:
    check_problem(client.get("/categories", headers={"Host": host}), 403, "forbidden")
    check_problem(client.post("/detect", files=files(part(1)), headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000"])
def test_open_access_answers_to_this_machines_names(client: TestClient, host: str) -> None:
    assert client.get("/categories", headers={"Host": host}).status_code == 200


def test_with_keys_a_host_may_have_any_name(plant: Plant) -> None:
    requested = {"Host": "inspect.plant.example", **plant.bearer(Role.LINE)}
    assert plant.client.get("/categories", headers=requested).status_code == 200
