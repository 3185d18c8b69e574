"""Servers that ask for API keys, as in a factory; and keys for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from service.auth import Role, generate_api_key
from tests.helpers.server_process import ServerProcess


class KeyedServer(ServerProcess):
    """A server with keys, whose client has an administrator's, so that no route is closed to it. token: that key."""

    def __init__(self, data: Path, *, environment: Mapping[str, str] | None = None, **more: str) -> None:
        self.token = new_token(data, more.get("DATABASE_URL"))
        super().__init__(data, environment=environment, ACCESS="keys", **more)
        self.client.headers["Authorization"] = f"Bearer {self.token}"


def new_token(data: Path, database_url: str | None) -> str:
    """Make an administrator's key in a data folder's catalogue, which is created if it is new."""
    made = generate_api_key("torture", Role.ADMIN)
    catalogue = Catalogue.open(DataFolder.created(data, database_url).database)
    try:
        catalogue.api_keys.create(made.key)
    finally:
        catalogue.close()
    return made.token
