"""The comparison with anomalib says in one line what it lacks, and inspects with what it stored."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from indexer.benchmarks.anomalib import StoredTouchstone, main, store_references
from indexer.encoders import EncoderSettings
from tests.helpers.part_images import part


def write(folder: Path, *seeds: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{seed}.png" for seed in seeds]
    for path, seed in zip(paths, seeds, strict=True):
        path.write_bytes(part(seed))
    return paths


@pytest.mark.skipif(find_spec("anomalib") is not None, reason="anomalib is installed")
def test_without_anomalib_one_line_says_what_to_install(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert "No module named 'anomalib'" in line
    assert "pip install" in line


def test_stored_references_are_searched(tmp_path: Path) -> None:
    settings = EncoderSettings("filterbank", resize=112, crop=112, device="cpu")
    references = write(tmp_path / "good", 1, 2, 3)
    store_references(settings, references, tmp_path / "references.npz")
    stored = StoredTouchstone(settings, tmp_path / "references.npz")
    known = stored.load(references[0]).inspect()
    unknown = stored.load(*write(tmp_path / "other", 40)).inspect()
    assert known.score < 1e-3 < unknown.score  # type: ignore[attr-defined]
