"""The findings as a table on the terminal, and as Markdown between two markers of a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from indexer.bench.measures import Expectation, Finding, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_VERDICTS = {True: "met", False: "not met", None: "not measured"}
_COLOURS = {True: "green", False: "red", None: "yellow"}


def show(console: Console, machine: str, findings: Sequence[Finding]) -> None:
    """Print both tables."""
    measured = Table("Measured", "At", "Median", "Compared", title=machine)
    expected = Table("Expected", "Found", "")
    for finding in findings:
        if isinstance(finding, Row):
            measured.add_row(finding.what, finding.size, finding.figure, finding.compared)
        else:
            colour = _COLOURS[finding.met]
            expected.add_row(finding.claim, finding.figure, f"[{colour}]{_VERDICTS[finding.met]}[/]")
    console.print(measured, expected)


def markdown(machine: str, findings: Sequence[Finding]) -> str:
    """The same tables as Markdown."""
    lines = [f"Machine: {machine}.", "", "| Expected | Found | |", "|---|---|---|"]
    for finding in findings:
        if isinstance(finding, Expectation):
            lines.append(f"| {finding.claim} | {finding.figure} | {_VERDICTS[finding.met]} |")
    lines += ["", "| Measured | At | Median | Compared |", "|---|---|---|---|"]
    for finding in findings:
        if isinstance(finding, Row):
            lines.append(f"| {finding.what} | {finding.size} | {finding.figure} | {finding.compared} |")
    return "\n".join(lines)


def has_markers(document: Path, begin: str = BEGIN, end: str = END) -> bool:
    """Whether the document has a section to replace."""
    if not document.is_file():
        return False
    text = document.read_text(encoding="utf-8")
    return begin in text and end in text.split(begin, 1)[1]


def replace_section(document: Path, section: str, begin: str = BEGIN, end: str = END) -> None:
    """Put `section` between the markers of a document that has them."""
    before, rest = document.read_text(encoding="utf-8").split(begin, 1)
    after = rest.split(end, 1)[1]
    document.write_text(f"{before}{begin}\n{section}\n{end}{after}", encoding="utf-8")
