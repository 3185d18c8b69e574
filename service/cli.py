"""The `touchstone` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from service.settings import Settings

app = typer.Typer(
    help="Touchstone finds defects in pictures of products with no training.",
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
)  # fmt: skip

Data = Annotated[Path | None, typer.Option(help="Data folder [TOUCHSTONE_DATA; default: touchstone-data].")]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="Catalogue's SQLAlchemy URL [TOUCHSTONE_DATABASE_URL; default: SQLite in the data].")
]
EncoderName = Annotated[
    str | None,
    typer.Option(help="builtin, hub id, folder, or Meta's .pth [TOUCHSTONE_ENCODER; default: builtin]."),
]


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [TOUCHSTONE_HOST; 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [TOUCHSTONE_PORT; 8000].")] = None,
    encoder: EncoderName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Start the HTTP service. Every other setting is an environment variable: see docs/settings.md."""
    settings = read_settings(data=data, host=host, port=port, encoder=encoder, database_url=database_url)
    # torch and FastAPI take seconds to import; --help should not.
    from indexer.catalogue import CatalogueError
    from indexer.encoders import EncoderError
    from indexer.library import FeatureSpaceMismatch
    from service.server import serve as run

    try:
        run(settings)
    except (EncoderError, FeatureSpaceMismatch, CatalogueError, OSError) as error:
        fail(str(error))


def read_settings(**given: object) -> Settings:
    """The settings, with what the command line gave over the environment. Exits with 2 and one line if invalid."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"TOUCHSTONE_{'_'.join(str(part) for part in first['loc']).upper()}: {first['msg']}")


def fail(message: str) -> NoReturn:
    """One line on standard error, and exit code 2."""
    print(f"touchstone: {' '.join(message.split())}", file=sys.stderr)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
