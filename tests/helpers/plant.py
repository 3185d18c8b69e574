"""A service that asks for keys."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from service.app import create_app
from service.auth import Role, generate_api_key
from service.auth.roles import KEY_ROLES
from service.state import AppState
from tests.helpers.http_service import settings


class Plant:
    """A service that asks for keys, and one key of each role."""

    def __init__(self, data: Path, **more: object) -> None:
        running = AppState.start(settings(data, access="keys", **more))
        self.catalogue = running.reference_store.catalogue
        self.client = TestClient(create_app(running), base_url="http://localhost")
        self.tokens: dict[Role, str] = {}
        for role in KEY_ROLES:
            made = generate_api_key(role.word, role)
            self.catalogue.api_keys.create(made.key)
            self.tokens[role] = made.token

    def bearer(self, role: Role) -> dict[str, str]:
        """The header of a role's key."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}
