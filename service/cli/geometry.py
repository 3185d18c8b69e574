"""`touchstone geometry`: the geometry that a defect needs, and the geometry of each category."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

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
    pixels,
)
from indexer.cli.options import Data, DatabaseUrl, EncoderName, fail, printer, read_settings

app = typer.Typer(
    help="Geometry of categories: the part of an image that is inspected, and its resolution.", no_args_is_help=True
)


@app.command()
def advise(
    image: Annotated[
        str, typer.Argument(metavar="WIDTHxHEIGHT", help="Size of the camera's images in pixels.", show_default=False)
    ],
    smallest_defect: SmallestDefect = None,
    millimetres_per_pixel: MillimetresPerPixel = None,
    cells: Cells = None,
    size: Size = None,
    resized: Resized = None,
    window: Window = None,
    on_mismatch: OnMismatch = None,
    references: Annotated[
        int, typer.Option(min=1, help="Number of references, for the cost in time and memory.")
    ] = 150,
    encoder: EncoderName = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the geometry for the smallest defect that matters, and its cost, without encoding any image.

    Times are extrapolated from a blank image on this machine. Exit code: 0 done; 2 no geometry fits, with one line that
    says what would.

    Example:  touchstone geometry advise 3200x2400 --smallest-defect 0.6 --millimetres-per-pixel 0.05
    """
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, encoder=encoder, database_url=database_url)
    choice = geometry_choice(cells, smallest_defect, millimetres_per_pixel, size, resized, window, on_mismatch)
    image_size = pixels("WIDTHxHEIGHT", image)
    # torch takes seconds to import; --help should not.
    from rich.table import Table

    from indexer.domain.category import CategorySettings
    from indexer.domain.errors import CatalogueError, EncoderError, GeometryError
    from indexer.encoders import load_encoder
    from indexer.jobs.encoder_of_memory import encoder_of_memory
    from indexer.memory import DEFAULT_CODEC, Codec
    from indexer.search import choose_engine
    from indexer.search.cost import cost_of, measure_pace

    try:
        loaded = load_encoder(encoder_of_memory(settings))
        codec = Codec.from_name(settings.codec or DEFAULT_CODEC, loaded.space.dim)
        geometry = choice.resolve(image_size, loaded.space.patch)
        pace = measure_pace(loaded, choose_engine(loaded.device), codec)
        cost = cost_of(geometry, image_size, references, CategorySettings().k, pace, loaded.space, codec)
    except (GeometryError, EncoderError, CatalogueError, OSError, ValueError) as error:
        fail(error)
    rows, columns = geometry.grid(loaded.space.patch)
    table = Table(show_header=False)
    table.add_row("inspected size", f"{geometry.described}, {rows} × {columns} cells")
    table.add_row("share of the image", f"{geometry.inspected:.0%}")
    table.add_row("smallest defect", f"{cost.smallest_defect:.3g} pixels")
    table.add_row("encoding, per image", f"about {_duration(cost.encode_ms)}")
    table.add_row(f"search in {references} references", f"about {_duration(cost.search_ms)}")
    table.add_row("per reference", f"{cost.reference_bytes / 1e6:.3g} MB")
    table.add_row(f"{references} references", f"{cost.memory_bytes / 1e6:.4g} MB")
    printer().print(table)


@app.command("list")
def list_(data: Data = None, database_url: DatabaseUrl = None) -> None:
    """List each category's geometry, and changes in progress."""
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, database_url=database_url)
    from rich.table import Table

    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.domain.errors import CatalogueError
    from indexer.domain.geometry import InputGeometry

    try:
        folder = DataFolder.existing(settings.data, settings.database_url)
        with closing(Catalogue.of(folder)) as catalogue:
            memory = catalogue.memories.active()
            geometries = {} if memory is None else catalogue.geometries.active(memory.id)
            changes = () if memory is None else catalogue.geometries.changes(memory.id)
    except (CatalogueError, OSError) as error:
        fail(error)
    table = Table("Category", "Inspected size", "Share of the image", "Other aspect ratios", "Changing to")
    pending = {change.record.category: change for change in changes}
    for name, text in sorted(geometries.items()):
        geometry, change = InputGeometry.from_json(text), pending.get(name)
        to = ""
        if change is not None:
            described = InputGeometry.from_json(change.record.geometry_json).described
            to = f"{described}: {change.encoded} of {change.references}"
        table.add_row(name, geometry.described, f"{geometry.inspected:.0%}", geometry.on_mismatch, to)
    printer().print(table)


def _duration(milliseconds: float) -> str:
    """To two figures: 45 ms, 4.3 s."""
    return f"{milliseconds:.2g} ms" if milliseconds < 99.5 else f"{milliseconds / 1000:.2g} s"
