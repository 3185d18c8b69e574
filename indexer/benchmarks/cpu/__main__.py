"""`python -m indexer.benchmarks.cpu`: run the benchmark, print its tables, write them into a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from indexer.benchmarks.cpu.plan import FULL, QUICK
from indexer.benchmarks.cpu.report import BEGIN, END, markdown, show
from indexer.benchmarks.cpu.stages import Measurement, stages
from indexer.benchmarks.machine import describe
from indexer.benchmarks.markdown_section import has_markers, replace_section

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    write: Annotated[
        Path | None, typer.Option(help=f"Markdown file whose text between {BEGIN} and {END} is replaced.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A test run at tiny sizes, in seconds; its figures are meaningless.")
    ] = False,
) -> None:
    """Measure what encoding, retrieval and growth cost on this machine.

    Each subject is warmed up once; then all run in turn for several rounds, and medians are shown, so that other load
    on the machine affects all equally. Ratios are computed within a round. Patch search is compared with the plain
    loop over cells of the authors' program, and with the floor: the time of one read of the retrieved codes, or of the
    arithmetic, at the rates measured in the same rounds.

    The full run takes ten minutes or more on two cores and up to 12 GB of memory.
    The encoders have random weights: nothing is downloaded, so only speed is measured.

    Examples:

    python -m indexer.benchmarks.cpu --quick

    python -m indexer.benchmarks.cpu --write docs/performance.md
    """
    console = Console(width=None if Console().is_terminal else 200)
    if write is not None and not has_markers(write, BEGIN, END):
        raise typer.BadParameter(f"no {BEGIN} … {END} section in {write}", param_hint="--write")
    measurements: list[Measurement] = []
    columns = (TextColumn("{task.fields[stage]}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    work = stages(QUICK if quick else FULL)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(work), stage="")
        for name, measure in work:
            progress.update(task, stage=name)
            measurements.extend(measure(lambda now: progress.update(task, description=now)))
            progress.advance(task)
    machine = describe()
    show(console, machine, measurements)
    if write is not None:
        replace_section(write, markdown(machine, measurements), BEGIN, END)
        console.print(f"Written into {write}")


if __name__ == "__main__":
    app()
