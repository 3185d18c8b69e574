"""The service under a path of a reverse proxy that strips it, and of one that passes it on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from service.app import create_app
from service.auth.roles import Role
from service.state import AppState
from tests.helpers.console_files import console_file
from tests.helpers.http_service import settings
from tests.helpers.part_images import part
from tests.helpers.plant import Plant
from tests.helpers.server_process import ServerProcess
from tests.helpers.sub_path_proxy import SubPathProxy
from touchstone_client import Client


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """A service that asks for keys and is shown under /touchstone."""
    made = Plant(tmp_path_factory.mktemp("data"), root_path="/touchstone")
    with made.client:
        yield made


def test_the_description_names_the_path_and_without_one_names_none(plant: Plant, client: TestClient) -> None:
    assert plant.client.get("/openapi.json").json()["servers"] == [{"url": "/touchstone"}]
    assert plant.client.get("/touchstone/openapi.json").json()["servers"] == [{"url": "/touchstone"}]
    assert "servers" not in client.get("/openapi.json").json()


def test_what_needs_no_key_is_answered_with_the_path_and_without_it(plant: Plant) -> None:
    files = (console_file(plant.client, name) for name in ("main.js", "strings/en.json"))
    for path in ("/healthz", "/", "/docs", "/metrics", *files):
        plain, under = plant.client.get(path), plant.client.get(f"/touchstone{path}")
        assert plain.status_code == under.status_code == 200, path
        assert plain.headers["content-type"] == under.headers["content-type"], path
        assert plant.client.head(f"/touchstone{path}").status_code == 200, path


@pytest.mark.parametrize("path", ["/keys", "/audit"])
@pytest.mark.parametrize("prefix", ["", "/touchstone"])
def test_the_path_leads_no_key_past_its_role(plant: Plant, prefix: str, path: str) -> None:
    for role, status in ((Role.LINE, 403), (Role.ENGINEER, 403), (Role.ADMIN, 200)):
        assert plant.client.get(prefix + path, headers=plant.bearer(role)).status_code == status
    assert plant.client.get(prefix + path).status_code == 401
    twice = plant.client.get(f"/touchstone{prefix}/touchstone{path}", headers=plant.bearer(Role.ADMIN))
    assert twice.status_code == 404


def test_405_lists_allowed_methods_below_the_root_path(plant: Plant) -> None:
    response = plant.client.put("/touchstone/keys", headers=plant.bearer(Role.ADMIN))
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("path", ["/touchstone", "/touchstone/console", "/console"])
def test_a_redirect_stays_under_the_path_and_names_no_host(plant: Plant, path: str) -> None:
    response = plant.client.get(path, follow_redirects=False)
    assert response.status_code == 307
    assert response.headers["location"] == f"/touchstone{path.removeprefix('/touchstone')}/"


@pytest.mark.parametrize("wrong", ["touchstone", "https://plant/touchstone", "/two words", "/a?b"])
def test_a_root_path_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        settings(tmp_path, root_path=wrong)


def test_a_slash_at_its_end_does_no_harm(tmp_path: Path) -> None:
    assert settings(tmp_path, root_path="/touchstone/").root_path == "/touchstone"
    with TestClient(create_app(AppState.start(settings(tmp_path, root_path="/"))), base_url="http://localhost") as here:
        assert here.get("/healthz").status_code == 200


@pytest.mark.parametrize("strip", [True, False])
def test_the_client_works_under_a_path(tmp_path: Path, strip: bool) -> None:
    with (
        ServerProcess(tmp_path / "data", ROOT_PATH="/plant/touchstone") as server,
        SubPathProxy({"/plant/touchstone": server.wait_until_live().port}, strip=strip) as proxy,
        Client(f"{proxy.url}/plant/touchstone") as client,
    ):
        client.onboard("disc", [part(0), part(1)])
        [result] = client.detect([part(2)]).results
        assert result.category == "disc"
        assert client.inspection(result.id).id == result.id
        assert not proxy.astray
