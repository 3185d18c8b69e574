"""`touchstone rebuild`."""

from __future__ import annotations

from typing import Annotated

import typer

from indexer.options import Data, DatabaseUrl, EncoderName, fail, printer, read_settings, sign
from indexer.progress import progress
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
    from indexer.data_folder import DataFolder
    from indexer.encoders import EncoderError, load_encoder
    from indexer.rebuild import NothingToRebuild, Rebuild, Unreadable

    sign()
    console = printer()
    try:
        folder = DataFolder.existing(settings.data, settings.database_url)
        job = Rebuild(folder, load_encoder(settings.encoder_settings), settings.codec)
        try:
            with progress() as shown:
                task = shown.task("encoding again", job.remaining())
                done = job.run(
                    settings.image_limits, settings.decode_threads, task.advance, drop_unreadable=drop_unreadable
                )
        finally:
            job.close()
    except Unreadable as unreadable:
        for each in unreadable.references:
            console.print(f"unreadable: reference {each.id}, {each.category}, {each.filename}")
        console.print(f"{unreadable}; nothing was switched. Restore them from a backup, or give --drop-unreadable.")
        raise typer.Exit(1) from None
    except (NothingToRebuild, EncoderError, CatalogueError, SQLAlchemyError, OSError, ValueError) as error:
        fail(str(error))
    for each in done.dropped:
        console.print(f"taken back: reference {each.id}, {each.category}, {each.filename}")
    then = "running services take it over" if done.same_encoder else "restart running services with it"
    console.print(
        f"From version {done.version} on, {done.references} references are held by {settings.encoder} ({done.codec}): "
        f"{then}.",
        soft_wrap=True,
    )
