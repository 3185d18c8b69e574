"""The benchmark runs and reports everything it promises; its figures are not judged here."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexer.benchmarks.cpu.__main__ import app
from indexer.benchmarks.cpu.clock import Timings
from indexer.benchmarks.cpu.plan import FULL
from indexer.benchmarks.cpu.report import BEGIN, END
from indexer.search.native import instruction_sets

ROWS = [
    "encode, built-in",
    "encode, ViT-B sized, cpu",
    "encode, ViT-S sized, cpu",
    "global search",
    "patch search, plain loop over cells",
    "patch search, TorchEngine cpu",
    "patch search, FaissEngine cpu",
    *(["patch search, NativeEngine cpu"] if instruction_sets() else []),
    "machine, beside the above",
    "codes of a reference",
    "append one reference",
    "a reference on disk",
    "a reference in memory",
    "resident memory over codes added",
    "a server's start until it is ready, built-in",
    "built-in | 96 px PNG | floor",
    "built-in | 96 px PNG | cold",
    "built-in | 96 px JPG | 2",
]
EXPECTATIONS = [
    "≥ 25× the cell loop",
    "≥ 1.6× faster than of fp16",
    "within 2.5× its floor",
    "within 1.3×",
    "under 40 %",
    "≤ 4.9 MB",
    "at most 1.15×",
    "ready within 2.5 s",
    "within 1.3× encoding alone",
    "≥ 80 % of what encoding alone allows",
]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("bench") / "performance.md"
    path.write_text(f"# Before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["--quick", "--write", str(path)])
    assert result.exit_code == 0, result.output
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS)
def test_the_table_has_every_row(document: str, row: str) -> None:
    assert f"| {row} |" in document


@pytest.mark.parametrize("claim", EXPECTATIONS)
def test_every_expectation_is_judged(document: str, claim: str) -> None:
    lines = [line for line in document.splitlines() if line.startswith("|") and claim in line]
    assert lines
    assert all(line.endswith(("| met |", "| not met |", "| not measured |")) for line in lines)


def test_only_the_section_between_the_markers_changes(document: str) -> None:
    assert document.startswith(f"# Before\n{BEGIN}\n")
    assert document.endswith(f"\n{END}\nafter\n")
    assert "stale" not in document


def test_a_document_without_the_markers_is_refused_before_anything_runs(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--write", str(tmp_path / "missing.md")])
    assert result.exit_code == 2


def test_a_ratio_is_taken_within_a_round() -> None:
    times = Timings({"slow": (2.0, 40.0, 6.0), "fast": (1.0, 10.0, 2.0)})
    assert times.ratio("slow", "fast") == 3.0


def test_neighbours_are_counted_with_the_border_clipped() -> None:
    assert FULL.candidates == (28 * 3 - 2) ** 2


def test_the_stages_of_a_detection_are_measured_by_a_server(document: str) -> None:
    head = next(line for line in document.splitlines() if line.startswith("| Encoder |"))
    names = [name.strip() for name in head.strip("|").split("|")]
    lines = [line for line in document.splitlines() if line.startswith("| built-in | 96 px PNG | 1 |")]
    figures = dict(zip(names, (cell.strip() for cell in lines[0].strip("|").split("|")), strict=True))
    for stage in ("total", "receive", "read", "encode", "retrieve", "patches", "score", "files", "catalogue"):
        assert 0 < float(figures[stage]) < 60_000, stage
    assert float(figures["encode"]) < float(figures["total"])
