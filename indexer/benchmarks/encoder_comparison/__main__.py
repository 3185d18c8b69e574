"""`python -m indexer.benchmarks.encoder_comparison`: one table that compares encoders category by category."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from indexer.benchmarks.encoder_comparison.compare import compare, table
from indexer.benchmarks.encoder_comparison.dataset import ImageCounts, write_dataset
from indexer.benchmarks.encoder_comparison.products import DRAWN, texture
from indexer.domain.errors import EncoderError
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import BUILTIN, EncoderSettings
from indexer.evaluation.dataset import DatasetError
from indexer.imaging.decode import ImageRejected, decode_image

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def validate(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Data sets in MVTec-AD's layout (default: drawn).")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Encoder, as in TOUCHSTONE_ENCODER; repeatable (default: builtin)."),
    ] = None,
    textures: Annotated[
        list[Path] | None, typer.Option(help="Photograph of a texture, from which a category is cropped; repeatable.")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Write the drawn data set here and stop.")] = None,
    resize: Annotated[int, typer.Option(min=1, help="Side the image is resized to.")] = 512,
    crop: Annotated[int, typer.Option(min=1, help="Side of the centre that is judged.")] = 448,
    k: Annotated[
        list[int] | None, typer.Option(min=1, help="References retrieved: once, or once per folder (default: 45).")
    ] = None,
    rho: Annotated[int, typer.Option(min=0, help="Radius in cells.")] = 1,
    pooled: Annotated[
        bool, typer.Option("--pooled/--by-category", help="Search all references, or the category's own.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn data set.")] = 3,
) -> None:
    """Print image / pixel AUROC of every encoder on every category.

    Without folders, eight products are drawn: 20 references, 20 good and 24 defective images each, in about a minute.
    They serve to compare encoders; the built-in one was not fitted on them.
    """
    settings = [EncoderSettings(model=name, resize=resize, crop=crop) for name in encoder or [BUILTIN]]
    retrieved = k or [45]
    if len(retrieved) not in (1, len(folders or [None])):
        raise typer.BadParameter("give --k once, or once for each folder", param_hint="--k")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            cache = Path(scratch) / "cache"
            if not folders or write is not None:
                products = DRAWN | {path.stem: texture(decode_image(path.read_bytes())) for path in textures or []}
                write_dataset(write or Path(scratch) / "drawn", products, ImageCounts(), seed)
            if write is None:
                shown = folders or [Path(scratch) / "drawn"]
                counts = retrieved * len(shown) if len(retrieved) == 1 else retrieved
                data_sets = [
                    (folder.resolve().name, compare(folder, settings, ScoringSettings(count, rho), pooled, cache))
                    for folder, count in zip(shown, counts, strict=True)
                ]
                Console(width=None if Console().is_terminal else 300).print(table(data_sets))
    except (DatasetError, EncoderError, ImageRejected, OSError) as error:
        typer.echo(f"touchstone: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app()
