"""The benchmark of a memory in mapped segment files runs at a tiny size."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from indexer.benchmarks.large_memory import app


def test_a_tiny_memory_is_made_and_measured(tmp_path: Path) -> None:
    sizes = ("--categories", "5", "--references", "2", "--distinct", "1")
    built = CliRunner().invoke(app, ["build", str(tmp_path / "data"), *sizes])
    assert built.exit_code == 0, built.output
    assert len({path.stat().st_ino for path in (tmp_path / "data/segments").iterdir()}) == 1
    measured = CliRunner().invoke(app, ["measure", str(tmp_path / "data")])
    assert measured.exit_code == 0, measured.output
    assert measured.output.startswith("10 references, 0.0 GB of codes, 5 segments")
    assert "| opening |" in measured.output
