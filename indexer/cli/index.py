"""`touchstone index`, also as `python -m indexer`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from indexer.cli.options import (
    Data,
    DatabaseUrl,
    EncoderName,
    Ray,
    bit_depth_option,
    fail,
    printer,
    read_settings,
    sign,
)
from indexer.imaging.listing import IMAGE_SUFFIXES, is_folder
from indexer.text import readable

if TYPE_CHECKING:
    from rich.console import Console

    from indexer.jobs.bulk_index import IndexReport
    from indexer.references.reference_store import ReferenceStore

_SHOWN = 20  # refused images, and as many findings, named on the screen


def index(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder, or s3://BUCKET/PREFIX, with a subfolder of images per category.", show_default=False
        ),
    ],
    data: Data = None,
    encoder: EncoderName = None,
    database_url: DatabaseUrl = None,
    screen: Annotated[
        bool, typer.Option(help="Check for duplicates, outliers and bad images, as the service does; doubles the time.")
    ] = True,
    bit_depth: Annotated[
        int | None,
        typer.Option(help="Bits per channel used in 16-bit files: 10, 12, 14 or 16 (default: inferred per category)."),
    ] = None,
    cells: Cells = None,
    smallest_defect: SmallestDefect = None,
    millimetres_per_pixel: MillimetresPerPixel = None,
    size: Size = None,
    resized: Resized = None,
    window: Window = None,
    on_mismatch: OnMismatch = None,
    ray: Ray = None,
) -> None:
    """Add folders of images of good parts as references, in bulk.

    The layout is FOLDER/CATEGORY/*.png, or MVTec-AD's: FOLDER/CATEGORY/train/good/*.png. All suffixes of JPEG, PNG,
    BMP, TIFF and WebP files are read (.jpg, .jfif, .dib, .tiff, …).

    It is safe to run again after a kill or with more images: existing references are not encoded again. Images that
    cannot be decoded are listed and skipped, and so are images with findings that the category's settings refuse. A
    service may be running on the same data; it loads what is added, and calibrates it at once or when it starts.

    The geometry options apply to new categories, see `touchstone geometry advise`; by default the whole image is
    inspected, on at most 784 cells. Existing categories keep their geometry, see `touchstone rebuild --category`.

    With --ray, nodes of a Ray cluster read and encode the images, and this command commits them, with the same result.
    FOLDER and encoder must have the same paths on every node: see docs/scale.md.

    From a bucket, with the extra `s3`, images are read as they are needed. Endpoint and credentials come from
    AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ~/.aws or the machine's role.

    Exit code: 0 all images are references now; 1 some were refused; 2 nothing was done.

    Sizes, layers, codec and limits are environment variables, as for the service: see docs/settings.md.

    Example:  touchstone index good-parts --data my-factory
    """
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, encoder=encoder, database_url=database_url)
    depth = bit_depth_option(bit_depth)
    choice = geometry_choice(cells, smallest_defect, millimetres_per_pixel, size, resized, window, on_mismatch)
    # torch takes seconds to import; --help should not.
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.cluster import connected
    from indexer.domain.errors import (
        CatalogueError,
        ClusterError,
        EncoderError,
        FeatureSpaceMismatch,
        ObjectStorageError,
    )
    from indexer.encoders import load_encoder
    from indexer.jobs.bulk_encoding import BulkEncoding, LocalEncoding
    from indexer.jobs.bulk_index import bulk_index as run
    from indexer.jobs.encoder_of_memory import encoder_of_memory
    from indexer.jobs.folder_layout import NothingToIndex, find_categories
    from indexer.progress import progress
    from indexer.references.reference_store import ReferenceStore
    from indexer.s3 import folder_to_read
    from indexer.search import choose_engine

    sign()
    console = printer()
    try:
        with folder_to_read(folder) as root:
            listing = find_categories(root)
            chosen = encoder_of_memory(settings)
            loaded = load_encoder(chosen)
            reference_store = ReferenceStore.open(
                settings.data,
                loaded.space,
                codec=settings.codec,
                database_url=settings.database_url,
                mmap_codes=settings.mmap_codes,
            )
            try:
                if reference_store.corrupt_segments:
                    [first, *_] = reference_store.corrupt_segments
                    raise OSError(f"{first}: restore it, or run `touchstone rebuild --damaged`, before adding more")
                with progress() as shown, connected(ray) if ray else nullcontext():
                    task = shown.task("", sum(len(category.paths) for category in listing.categories))

                    def advance(tally: IndexReport, count: int) -> None:
                        task.advance(count, tally.category)

                    encoding: BulkEncoding
                    if ray:
                        from indexer.jobs.ray_encoding import RayEncoding

                        encoding = RayEncoding(chosen, loaded.space, settings.image_limits)
                    else:
                        encoding = LocalEncoding(loaded, settings.image_limits, settings.decode_threads)
                    reports = run(
                        reference_store,
                        encoding,
                        listing.categories,
                        limits=settings.image_limits,
                        decoders=settings.decode_threads,
                        advance=advance,
                        screen=choose_engine(loaded.device) if screen else None,
                        depth=depth,
                        policy=settings.geometry_policy,
                        choice=choice,
                    )
                reference_store.compact_if_needed()
                advised = _advice(reference_store, {report.category for report in reports})
            finally:
                reference_store.close()
    except (
        NothingToIndex,
        EncoderError,
        FeatureSpaceMismatch,
        CatalogueError,
        ClusterError,
        ObjectStorageError,
        DatabaseError,
        OSError,
        ValueError,
    ) as error:
        fail(error)
    _summarise(console, reports, listing.ignored)
    for advice in advised:
        console.print(advice, soft_wrap=True)
    if any(tally.rejected for tally in reports):
        raise typer.Exit(1)


def _advice(reference_store: ReferenceStore, names: Collection[str]) -> list[str]:
    """What to do about the number of these categories' references and about where parts lie in them."""
    from indexer.calibration.alignment import measure_alignment
    from indexer.calibration.rate_advice import rate_advice
    from indexer.steps import run_to_end

    lines = []
    for category in reference_store.catalogue.categories.list():
        if category.name not in names:
            continue
        settings = category.settings
        alignment = run_to_end(measure_alignment(reference_store.memory, category.name, settings.scoring))
        advice = (
            rate_advice(settings.decision, category.references),
            None if alignment is None else alignment.advice(settings.rho),
        )
        lines += [f"{category.name}: {text}" for text in advice if text is not None]
    return lines


def _summarise(console: Console, tallies: Sequence[IndexReport], skipped: Sequence[Path]) -> None:
    from rich.table import Table

    table = Table(title="References", header_style="bold")
    table.add_column("category")
    for heading in ("added", "duplicates", "rejected", "findings"):
        table.add_column(heading, justify="right")
    for tally in tallies:
        table.add_row(
            tally.category, str(tally.added), str(tally.duplicates), str(len(tally.rejected)), str(len(tally.findings))
        )
    console.print(table)
    _list(
        console, [f"refused: {rejected.path}: {rejected.detail}" for report in tallies for rejected in report.rejected]
    )
    _list(console, [f"skipped: {path}: {_why_skipped(path)}" for path in skipped])
    for tally in tallies:
        if tally.images_until_outlier_check:
            console.print(
                f"{tally.category}: too few images to check for outliers: "
                f"{tally.images_until_outlier_check} more needed",
                soft_wrap=True,
            )
    _list(
        console,
        [f"{finding.kind}: {path}: {finding.detail}" for report in tallies for path, finding in report.findings],
    )


def _why_skipped(path: Path) -> str:
    if is_folder(path):
        return "A folder without images directly in it."
    return "Not the suffix of an image." if path.suffix.lower() not in IMAGE_SUFFIXES else "Not a file."


def _list(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        console.print(readable(line), soft_wrap=True)
    if len(lines) > _SHOWN:
        console.print(f"… and {len(lines) - _SHOWN} more")
