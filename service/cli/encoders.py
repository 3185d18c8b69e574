"""`touchstone encoders`: list the supported encoders, and download one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from indexer.cli.options import fail, printer

Folder = Annotated[Path, typer.Option(help="Folder of downloaded encoders.")]
_DEFAULT = Path("encoders")
_MEGABYTE = 1_000_000

app = typer.Typer(help="List the supported encoders, and download one.")


@app.callback(invoke_without_command=True)
def list_(context: typer.Context, folder: Folder = _DEFAULT) -> None:
    """List the published encoders: family, size, licence, and whether they are on this machine.

    Use a name from the first column for TOUCHSTONE_ENCODER or --encoder; the hub's client downloads it on first use.
    `touchstone encoders fetch NAME` downloads it into a folder, for machines without internet. Any other model of the
    hub can be named as well: see docs/encoders.md.
    """
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from indexer.hub.published import PUBLISHED, others_here

    table = Table("Name", "Encoder", "Size", "Patch", "Parameters", "Licence", "Gated", "Here")
    trained = "Apache-2.0, MIT"
    table.add_row("builtin", "ships with Touchstone: filters and DINOv2", "ViT-S", "16", "11 M", trained, "", "yes")
    table.add_row(
        "builtin-fine", "ships with Touchstone: filters and DINOv2", "ViT-S", "16", "15 M", trained, "", "yes"
    )
    table.add_row("filterbank", "ships with Touchstone: filters", "", "16", "", "Apache-2.0", "", "yes")
    for encoder in PUBLISHED:
        gated = "form" if encoder.gated else ""
        table.add_row(
            encoder.name,
            encoder.family,
            encoder.size,
            str(encoder.patch),
            f"{encoder.millions} M",
            encoder.licence,
            gated,
            encoder.here(folder) or "",
        )
    for path in others_here(folder):
        table.add_row(path, "", "", "", "", "", "", str(folder))
    printer().print(table)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A listed name, or any model of the hub.", show_default=False)],
    folder: Folder = _DEFAULT,
) -> None:
    """Download an encoder into FOLDER and verify its checksums, for example for a plant without internet.

    An interrupted download is resumed. Exit code: 0 complete; 2 the encoder cannot be downloaded.

    Example:  touchstone encoders fetch timm:vit_base_patch16_dinov3.lvd1689m
    """
    from indexer.domain.errors import EncoderError
    from indexer.hub.fetching import fetch as download
    from indexer.hub.published import LICENCES, PUBLISHED

    try:
        from indexer.progress import progress

        with progress() as shown:
            tasks = {}

            def report(file: str, done: int, total: int) -> None:
                if file not in tasks:
                    tasks[file] = shown.task(f"{file}, MB")
                tasks[file].reach(done // _MEGABYTE, -(-total // _MEGABYTE))

            path = download(name, folder, report)
    except (EncoderError, OSError) as error:
        fail(error)
    say = printer().print
    say(f"{name} is in {path}: TOUCHSTONE_ENCODER={path}", soft_wrap=True)
    sums = "sha256sum -c SHA256SUMS" if path.is_dir() else f"sha256sum -c {path.name}.sha256"
    say(f"After copying it to another machine, check it with `{sums}`.", soft_wrap=True)
    licence = next((encoder.licence for encoder in PUBLISHED if encoder.name == name), None)
    if licence in LICENCES:
        say(f"Licence: {licence}, {LICENCES[licence]}", soft_wrap=True)
