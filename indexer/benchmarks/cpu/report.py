"""The findings as a table on the terminal, and as Markdown between two markers of a document."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from indexer.benchmarks.cpu.detection import STAGES, StageLine
from indexer.benchmarks.cpu.stages import Expectation, Measurement, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_VERDICTS = {True: "met", False: "not met", None: "not measured"}
_ALL_STAGES = (*STAGES, "rest")
_STAGE_COLUMNS = ("Encoder", "Image", "Clients", "total", *_ALL_STAGES, "images/s")
_COLOURS = {True: "green", False: "red", None: "yellow"}


def show(console: Console, machine: str, measurements: Sequence[Measurement]) -> None:
    """Print the tables."""
    measured = Table("Measured", "At", "Median", "Compared", title=machine)
    expected = Table("Expected", "Found", "")
    for measurement in measurements:
        if isinstance(measurement, Row):
            measured.add_row(measurement.what, measurement.size, measurement.figure, measurement.compared)
        elif isinstance(measurement, Expectation):
            colour = _COLOURS[measurement.met]
            expected.add_row(measurement.claim, measurement.figure, f"[{colour}]{_VERDICTS[measurement.met]}[/]")
    detections = Table(*_STAGE_COLUMNS, title="Milliseconds of one detection")
    for measurement in measurements:
        if isinstance(measurement, StageLine):
            detections.add_row(*_cells_of(measurement))
    console.print(measured, expected, detections)


def markdown(machine: str, measurements: Sequence[Measurement]) -> str:
    """The same tables as Markdown."""
    lines = [f"Machine: {machine}.", "", "| Expected | Found | |", "|---|---|---|"]
    for measurement in measurements:
        if isinstance(measurement, Expectation):
            lines.append(f"| {measurement.claim} | {measurement.figure} | {_VERDICTS[measurement.met]} |")
    lines += ["", "| Measured | At | Median | Compared |", "|---|---|---|---|"]
    for measurement in measurements:
        if isinstance(measurement, Row):
            lines.append(f"| {measurement.what} | {measurement.size} | {measurement.figure} | {measurement.compared} |")
    lines += ["", f"| {' | '.join(_STAGE_COLUMNS)} |", "|---" * len(_STAGE_COLUMNS) + "|"]
    for measurement in measurements:
        if isinstance(measurement, StageLine):
            lines.append(f"| {' | '.join(_cells_of(measurement))} |")
    return "\n".join(lines)


def _cells_of(line: StageLine) -> list[str]:
    """Milliseconds of each stage; nothing where there is no figure."""
    seconds = [line.total, *(line.stages.get(stage) for stage in _ALL_STAGES)]
    figures = ["" if duration is None else f"{duration * 1e3:.3g}" for duration in seconds]
    rate = "" if line.rate is None else f"{line.rate:.1f}"
    return [line.what, line.image, line.clients, *figures, rate]
