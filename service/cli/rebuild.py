"""`touchstone rebuild`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from indexer.cli.geometry_options import (
    Cells,
    MillimetresPerPixel,
    OnMismatch,
    Resized,
    Size,
    SmallestDefect,
    Window,
    geometry_choice,
)
from indexer.cli.options import Data, DatabaseUrl, EncoderName, fail, printer, read_settings, sign

if TYPE_CHECKING:
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.domain.geometry_choice import GeometryChoice
    from indexer.domain.leave_one_out import StoredCalibration
    from indexer.domain.reference import Reference
    from indexer.encoders import EncoderSettings
    from indexer.memory import MemoryBank
    from indexer.progress import Progress
    from indexer.settings import DataSettings

    _Work: TypeAlias = Callable[[DataSettings, DataFolder, Catalogue, Progress, bool], list[str]]


def rebuild(
    encoder: EncoderName = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    codec: Annotated[
        str | None, typer.Option(help="fp16, bf16, int8, int4 or fp32 [TOUCHSTONE_CODEC; default: unchanged].")
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only re-encode the references of damaged segments, as they were.")
    ] = False,
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable", help="Remove references whose stored images are missing or damaged.")
    ] = False,
    category: Annotated[
        str | None,
        typer.Option(help="Only re-encode this category, at the geometry given below.", show_default=False),
    ] = None,
    cells: Cells = None,
    smallest_defect: SmallestDefect = None,
    millimetres_per_pixel: MillimetresPerPixel = None,
    size: Size = None,
    resized: Resized = None,
    window: Window = None,
    on_mismatch: OnMismatch = None,
) -> None:
    """Re-encode all stored images with another encoder, size or codec, and switch to the new memory atomically.

    A running service uses the old memory until the switch. It then loads a new codec by itself; for a new encoder or
    size it must be restarted, which /readyz reports, and until then it detects with the old memory. After a kill, run
    the command again: it continues where it stopped. Layers and sizes are environment variables, as for the service:
    see docs/settings.md.

    --damaged reads every segment and re-encodes the references of damaged ones, with their sizes and codec; --encoder
    must be the encoder that made them. Running services load them within a minute.

    --category re-encodes one category at another geometry (see `touchstone geometry advise`) and switches atomically;
    running services load it. Without geometry options it completes a change that was interrupted. Without --category,
    categories that had the memory's default geometry are inspected as a whole afterwards; all others keep theirs.

    Exit code: 0 done; 1 some stored images cannot be read: nothing was switched, or, with --damaged, all others were
    repaired; 2 nothing was done.

    \b
    Examples:
      touchstone rebuild --encoder timm:vit_base_patch16_dinov3.lvd1689m --data my-factory
      touchstone rebuild --category bracket --smallest-defect 12 --data my-factory
    """
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, encoder=encoder, database_url=database_url, codec=codec)
    # torch takes seconds to import; --help should not.
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.domain.errors import CatalogueError, EncoderError, FeatureSpaceMismatch
    from indexer.domain.geometry_choice import GeometryChoice
    from indexer.jobs.reencoder import ImagesUnreadable
    from indexer.progress import progress

    if damaged and codec is not None:
        fail("--damaged keeps the codec: omit --codec")
    choice = geometry_choice(cells, smallest_defect, millimetres_per_pixel, size, resized, window, on_mismatch)
    if category is None and choice != GeometryChoice():
        fail("geometry options need --category")
    if category is not None and (damaged or codec is not None):
        fail("--category changes a category's geometry: omit --damaged and --codec")
    sign()
    work: _Work = _repair if damaged else _rebuild
    if category is not None:
        work = partial(_change_geometry, category, choice)
    try:
        folder = DataFolder.existing(settings.data, settings.database_url)
        with closing(Catalogue.of(folder)) as catalogue, progress() as shown:
            summary = work(settings, folder, catalogue, shown, drop_unreadable)
    except ImagesUnreadable as unreadable:
        for reference in unreadable.references:
            _say(f"unreadable: reference {reference.id}, {reference.category}, {reference.filename}")
        _say(f"{unreadable}: restore them from a backup, or use --drop-unreadable. All other images are encoded.")
        raise typer.Exit(1) from None
    except (EncoderError, FeatureSpaceMismatch, CatalogueError, DatabaseError, OSError, ValueError) as error:
        fail(error)
    for line in summary:
        _say(line)


def _rebuild(
    settings: DataSettings, folder: DataFolder, catalogue: Catalogue, shown: Progress, drop_unreadable: bool
) -> list[str]:
    """Re-encode all references and switch; returns the lines to print."""
    from indexer.encoders import load_encoder
    from indexer.jobs.reencode import ReencodeJob

    encoder = load_encoder(_encoder_settings(settings, catalogue))
    job = ReencodeJob(folder, catalogue, encoder, settings.codec, settings.geometry_policy)
    done = job.run(
        settings.image_limits,
        settings.decode_threads,
        shown.task("encoding again", job.remaining()).advance,
        drop_unreadable=drop_unreadable,
    )
    then = "running services load it" if done.same_encoder else "restart running services with it"
    summary = f"{done.references} references are encoded with {settings.encoder} ({done.codec})"
    return [*map(_removed, done.dropped), f"From version {done.version} on, {summary}: {then}."]


def _encoder_settings(settings: DataSettings, catalogue: Catalogue) -> EncoderSettings:
    """The encoder, with the sizes that were set, the memory's if only the codec changes, or those of a new memory."""
    from indexer.encoders import load_encoder
    from indexer.jobs.encoder_of_memory import encoder_of_memory, with_overview

    memory = catalogue.memories.active()
    if settings.sized or memory is None:
        return settings.encoder_settings
    if settings.codec not in (None, memory.codec):
        stored_encoder = encoder_of_memory(settings)
        if load_encoder(stored_encoder).space.fingerprint == memory.fingerprint:
            return stored_encoder
    return with_overview(settings.encoder_settings)


def _change_geometry(
    category: str,
    choice: GeometryChoice,
    settings: DataSettings,
    folder: DataFolder,
    catalogue: Catalogue,
    shown: Progress,
    drop_unreadable: bool,
) -> list[str]:
    """Re-encode one category at another geometry and switch; returns the lines to print."""
    from indexer.calibration.leave_one_out import run_leave_one_out
    from indexer.calibration.serialisation import to_stored
    from indexer.domain.errors import FeatureSpaceMismatch
    from indexer.domain.geometry import InputGeometry
    from indexer.domain.geometry_choice import GeometryChoice, commonest
    from indexer.domain.scoring_settings import check_radius
    from indexer.encoders import load_encoder
    from indexer.imaging.roi import roi_cells
    from indexer.jobs.encoder_of_memory import encoder_of_memory
    from indexer.jobs.geometry_change import GeometryChangeJob
    from indexer.jobs.reencoder import Reencoder
    from indexer.memory import Codec
    from indexer.search import choose_engine
    from indexer.search.cost import check_memory

    encoder = load_encoder(encoder_of_memory(settings))
    memory = catalogue.memories.active()
    if memory is None or memory.fingerprint != encoder.space.fingerprint:
        raise FeatureSpaceMismatch(f"the memory in {folder.root} was made by another encoder: name that one")
    codec = Codec.from_name(memory.codec, encoder.space.dim)
    stored = catalogue.categories.get(category)
    text = catalogue.geometries.of(memory.id, category)
    present = encoder.space.global_geometry if text is None else InputGeometry.from_json(text)
    pending = next(
        (change.record for change in catalogue.geometries.changes(memory.id) if change.record.category == category),
        None,
    )
    if choice != GeometryChoice() or pending is None:
        size = commonest(catalogue.references.sizes(category)) or present.resized
        geometry = choice.resolve(size, encoder.space.patch, present)
        check_memory(geometry, max(1, stored.references), encoder.space, codec)
        check_radius(stored.settings.rho, geometry.grid(encoder.space.patch))
        roi_cells(stored.settings.region_of_interest, geometry.frame(encoder.space.patch))
        pending = catalogue.geometries.prepare(memory.id, category, geometry.to_json())
    if pending is None:
        return [f"{category} has this geometry already: {present.described}."]
    scoring = stored.settings.scoring
    engine = choose_engine(encoder.device)

    def calibrate(memory: MemoryBank) -> StoredCalibration:
        return to_stored(memory.version, run_leave_one_out(memory, engine, stored.name, scoring))

    job = GeometryChangeJob(folder, catalogue, encoder.space, codec, pending)
    advance = shown.task("encoding again", stored.references).advance
    with Reencoder.working(folder, encoder, codec, settings.image_limits, settings.decode_threads) as reencoder:
        done = job.run(
            lambda references, geometry: reencoder.encode(references, geometry, advance),
            calibrate=calibrate,
            drop_unreadable=drop_unreadable,
        )
    described = InputGeometry.from_json(pending.geometry_json).described
    summary = f"{category} ({done.references} references) is inspected at {described}"
    return [
        *map(_removed, done.dropped),
        f"From version {done.version} on, {summary}: running services load it.",
    ]


def _repair(
    settings: DataSettings, folder: DataFolder, catalogue: Catalogue, shown: Progress, drop_unreadable: bool
) -> list[str]:
    """Re-encode the references of damaged segments; returns the lines to print."""
    from indexer.encoders import load_encoder
    from indexer.jobs.encoder_of_memory import encoder_of_memory
    from indexer.jobs.repair import RepairJob

    repair = RepairJob(folder, catalogue, load_encoder(encoder_of_memory(settings)))
    damaged = repair.damaged(shown.task("looking for damaged segments").reach)
    if not damaged:
        return ["No segment is damaged."]
    done = repair.run(
        damaged,
        settings.image_limits,
        settings.decode_threads,
        shown.task("encoding again", sum(len(segment_rows.rows) for segment_rows in damaged)).advance,
        drop_unreadable=drop_unreadable,
    )
    repaired = f"{done.references} references of {len(damaged)} damaged segments were re-encoded"
    return [*map(_removed, done.dropped), f"{repaired}: running services load them within a minute."]


def _removed(reference: Reference) -> str:
    return f"removed: reference {reference.id}, {reference.category}, {reference.filename}"


def _say(line: str) -> None:
    printer().print(line, soft_wrap=True)
