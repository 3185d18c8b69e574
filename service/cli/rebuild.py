"""`touchstone rebuild`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from indexer.options import Data, DatabaseUrl, EncoderName, fail, progress_bar, read_settings, sign
from indexer.settings import DataSettings


def rebuild(
    encoder: EncoderName = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    codec: Annotated[str | None, typer.Option(help="fp16, bf16, int8 or fp32 [TOUCHSTONE_CODEC; as it is].")] = None,
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable", help="Take back references whose kept pictures are gone or damaged.")
    ] = False,
) -> None:
    """Encode all kept pictures again, with another encoder, size or codec, and switch to the new memory at once.

    A running service goes on with the old memory until the switch. A new codec it then takes over by itself; for a new
    encoder or size it says in /readyz that it must be restarted, and detects with the old memory until it is. Run the
    command again after a kill: what was encoded already is kept. Layers and sizes are environment variables, as for the
    service: see docs/settings.md.

    Exit code: 0 switched; 1 some kept pictures cannot be read, nothing was switched; 2 nothing could be done.

    Example:  touchstone rebuild --encoder weights/dinov3_vitb16.pth --data my-factory
    """
    settings = read_settings(DataSettings, data=data, encoder=encoder, database_url=database_url, codec=codec)
    # torch takes seconds to import; --help should not.
    from sqlalchemy.exc import SQLAlchemyError

    from indexer.catalogue import CatalogueError
    from indexer.encoders import EncoderError, load_encoder
    from indexer.rebuild import NothingToRebuild, Rebuild, Unreadable

    sign()
    console = Console()
    try:
        job = Rebuild(
            settings.data, settings.database_url, load_encoder(settings.encoder_settings), settings.codec
        )  # fmt: skip
        try:
            with progress_bar(console) as progress:
                task = progress.add_task("encoding again", total=job.remaining())
                done = job.run(
                    settings.image_limits, settings.decode_threads, lambda count: progress.advance(task, count),
                    drop_unreadable=drop_unreadable,
                )  # fmt: skip
        finally:
            job.close()
    except Unreadable as unreadable:
        for each in unreadable.references:
            console.print(f"unreadable: reference {each.id}, {each.category}, {each.filename}", markup=False)
        console.print(f"{unreadable}; nothing was switched. Restore them from a backup, or give --drop-unreadable.")
        raise typer.Exit(1) from None
    except (NothingToRebuild, EncoderError, CatalogueError, SQLAlchemyError, OSError, ValueError) as error:
        fail(str(error))
    for each in done.dropped:
        console.print(f"taken back: reference {each.id}, {each.category}, {each.filename}", markup=False)
    then = "running services take it over" if done.same_encoder else "restart running services with it"
    console.print(
        f"From version {done.version} on, {done.references} references are held by {settings.encoder} ({done.codec}): "
        f"{then}.",
        markup=False,
        soft_wrap=True,
    )
