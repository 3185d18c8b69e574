"""`touchstone serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, EncoderName, fail, read_settings


def serve(
    data: Data = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [TOUCHSTONE_HOST; default: 127.0.0.1].")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [TOUCHSTONE_PORT; default: 8000].")] = None,
    encoder: EncoderName = None,
    database_url: DatabaseUrl = None,
    open_access: Annotated[
        bool, typer.Option("--open", help="Require no API keys; on a loopback address only [TOUCHSTONE_ACCESS=open].")
    ] = False,
) -> None:
    """Start the HTTP service. All other settings are environment variables: see docs/settings.md.

    Example:  touchstone serve --open --data my-factory
    """
    from service.settings import Settings

    settings = read_settings(
        Settings,
        data=data,
        host=host,
        port=port,
        encoder=encoder,
        database_url=database_url,
        access="open" if open_access else None,
    )
    # torch and FastAPI take seconds to import; --help should not.
    from indexer.domain.errors import CatalogueError, FeatureSpaceMismatch
    from indexer.encoders import EncoderError
    from service.observability.tracing import TracingUnavailable
    from service.server import serve as run

    try:
        run(settings)
    except (EncoderError, FeatureSpaceMismatch, CatalogueError, TracingUnavailable, OSError) as error:
        fail(str(error))
