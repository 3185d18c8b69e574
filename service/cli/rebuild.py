"""`touchstone rebuild`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, EncoderName, fail, printer, read_settings, sign
from indexer.settings import DataSettings

if TYPE_CHECKING:
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.domain.reference import Reference
    from indexer.progress import Progress


def rebuild(
    encoder: EncoderName = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    codec: Annotated[str | None, typer.Option(help="fp16, bf16, int8 or fp32 [TOUCHSTONE_CODEC; as it is].")] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only encode the references of damaged segments again, as they were.")
    ] = False,
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable", help="Take back references whose kept images are gone or damaged.")
    ] = False,
) -> None:
    """Encode all kept images again, with another encoder, size or codec, and switch to the new memory at once.

    A running service goes on with the old memory until the switch. A new codec it then takes over by itself; for a new
    encoder or size it says in /readyz that it must be restarted, and detects with the old memory until it is. Run the
    command again after a kill: what was encoded already is kept. Layers and sizes are environment variables, as for the
    service: see docs/settings.md.

    With --damaged it reads every segment, and encodes the references of those that are damaged again, with the sizes
    and codec that they had; --encoder must be theirs. Running services take them over within a minute.

    Exit code: 0 done; 1 some kept images cannot be read: nothing was switched, or all but they were mended; 2 nothing
    could be done.

    Example:  touchstone rebuild --encoder timm:vit_base_patch16_dinov3.lvd1689m --data my-factory
    """
    settings = read_settings(DataSettings, data=data, encoder=encoder, database_url=database_url, codec=codec)
    # torch takes seconds to import; --help should not.
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.engine import DatabaseError
    from indexer.domain.errors import CatalogueError, FeatureSpaceMismatch
    from indexer.encoders import EncoderError
    from indexer.jobs.reencoder import ImagesUnreadable
    from indexer.progress import progress

    if damaged and codec is not None:
        fail("--damaged keeps the codec: leave --codec away")
    sign()
    work = _mend if damaged else _rebuild
    try:
        folder = DataFolder.existing(settings.data, settings.database_url)
        with closing(Catalogue.open(folder.database)) as catalogue, progress() as shown:
            told = work(settings, folder, catalogue, shown, drop_unreadable)
    except ImagesUnreadable as unreadable:
        for each in unreadable.references:
            _say(f"unreadable: reference {each.id}, {each.category}, {each.filename}")
        _say(f"{unreadable}: restore them from a backup, or give --drop-unreadable. What can be read is encoded.")
        raise typer.Exit(1) from None
    except (EncoderError, FeatureSpaceMismatch, CatalogueError, DatabaseError, OSError, ValueError) as error:
        fail(str(error))
    for line in told:
        _say(line)


def _rebuild(
    settings: DataSettings, folder: DataFolder, catalogue: Catalogue, shown: Progress, drop_unreadable: bool
) -> list[str]:
    """Encode everything again and switch; returns what to say of it."""
    from indexer.encoders import load_encoder
    from indexer.jobs.reencode import ReencodeJob

    job = ReencodeJob(folder, catalogue, load_encoder(settings.encoder_settings), settings.codec)
    done = job.run(
        settings.image_limits,
        settings.decode_threads,
        shown.task("encoding again", job.remaining()).advance,
        drop_unreadable=drop_unreadable,
    )
    then = "running services take it over" if done.same_encoder else "restart running services with it"
    held = f"{done.references} references are held by {settings.encoder} ({done.codec})"
    return [*map(_taken_back, done.dropped), f"From version {done.version} on, {held}: {then}."]


def _mend(
    settings: DataSettings, folder: DataFolder, catalogue: Catalogue, shown: Progress, drop_unreadable: bool
) -> list[str]:
    """Encode again what lies in damaged segments; returns what to say of it."""
    from indexer.encoders import load_encoder
    from indexer.jobs.encoder_of_memory import encoder_of_memory
    from indexer.jobs.repair import RepairJob

    mending = RepairJob(folder, catalogue, load_encoder(encoder_of_memory(settings)))
    damaged = mending.damaged(shown.task("looking for damaged segments").reach)
    if not damaged:
        return ["No segment is damaged."]
    done = mending.run(
        damaged,
        settings.image_limits,
        settings.decode_threads,
        shown.task("encoding again", sum(len(each.rows) for each in damaged)).advance,
        drop_unreadable=drop_unreadable,
    )
    mended = f"{done.references} references of {len(damaged)} damaged segments were encoded again"
    return [*map(_taken_back, done.dropped), f"{mended}: running services take them over within a minute."]


def _taken_back(reference: Reference) -> str:
    return f"taken back: reference {reference.id}, {reference.category}, {reference.filename}"


def _say(line: str) -> None:
    printer().print(line, soft_wrap=True)
