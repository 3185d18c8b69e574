"""`touchstone keys`: create, list and revoke API keys in the catalogue, whether services run or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from indexer.cli.options import Data, DatabaseUrl, fail, read_settings, sign
from indexer.text import TextRejected, plain

if TYPE_CHECKING:
    from indexer.catalogue.api_keys import ApiKeys

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the client, such as press-4.")],
    role: Annotated[
        Literal["line", "operator", "engineer", "admin"], typer.Option(help="Permissions of the key: docs/access.md.")
    ] = "line",
    days: Annotated[
        float | None, typer.Option(min=0, max=36_500, help="Days until it expires (default: never).")
    ] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            min=0, max=10_000_000, help="Rate limit of this key; 0 for none (default: TOUCHSTONE_REQUESTS_PER_MINUTE)."
        ),
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a key and print its token, which is shown only now: the catalogue stores a hash.

    Example:  touchstone keys create press-4 --role line --data my-factory
    """
    name = _plain("name", name)
    if not name:
        fail("the name is empty")
    from service.auth import Role, generate_api_key

    generated = generate_api_key(name, Role[role.upper()], days, requests_per_minute)
    with _api_keys(data, database_url) as keys:
        keys.create(generated.key)
    print(generated.token)


@app.command("list")
def list_(data: Data = None, database_url: DatabaseUrl = None) -> None:
    """Print every key and every session of the console: id, role, state, expiry, name."""
    now = datetime.now(UTC)
    with _api_keys(data, database_url) as keys:
        for key in keys.list():
            state = "usable" if key.usable(now) else "revoked" if key.revoked_at else "expired"
            expires = key.expires_at.isoformat(timespec="minutes") if key.expires_at else "never"
            print(f"{key.id}  {key.role:8}  {state:7}  {expires:22}  {key.name}")


@app.command()
def revoke(key_id: str, data: Data = None, database_url: DatabaseUrl = None) -> None:
    """Revoke a key; running services refuse it within a second."""
    with _api_keys(data, database_url) as keys:
        keys.revoke(_plain("key's id", key_id))


def _plain(what: str, argument: str) -> str:
    """Text from the command line by the one rule for text; exits with one line when it breaks that."""
    try:
        return plain(argument)
    except TextRejected as refused:
        fail(f"the {what} {refused}")


@contextmanager
def _api_keys(data: Path | None, database_url: str | None) -> Iterator[ApiKeys]:
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, database_url=database_url)
    # SQLAlchemy takes a while to import, which --help should not take; the rest of the catalogue takes half as long.
    from indexer.catalogue.api_keys import ApiKeys
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.database import open_database
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.catalogue.transactions import Transactions
    from indexer.domain.errors import CatalogueError

    sign()
    try:
        transactions = Transactions(open_database(DataFolder.existing(settings.data, settings.database_url).database))
        try:
            yield ApiKeys(transactions)
        finally:
            transactions.close()
    except (CatalogueError, DatabaseError, OSError) as error:
        fail(error)
