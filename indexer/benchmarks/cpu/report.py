"""The findings as a table on the terminal, and as Markdown between two markers of a document."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from indexer.benchmarks.cpu.stages import Expectation, Measurement, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_VERDICTS = {True: "met", False: "not met", None: "not measured"}
_COLOURS = {True: "green", False: "red", None: "yellow"}


def show(console: Console, machine: str, measurements: Sequence[Measurement]) -> None:
    """Print both tables."""
    measured = Table("Measured", "At", "Median", "Compared", title=machine)
    expected = Table("Expected", "Found", "")
    for measurement in measurements:
        if isinstance(measurement, Row):
            measured.add_row(measurement.what, measurement.size, measurement.figure, measurement.compared)
        else:
            colour = _COLOURS[measurement.met]
            expected.add_row(measurement.claim, measurement.figure, f"[{colour}]{_VERDICTS[measurement.met]}[/]")
    console.print(measured, expected)


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
    return "\n".join(lines)
