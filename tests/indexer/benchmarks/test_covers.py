"""Covers of stored patches: every dropped patch has a stored one within the distance, and the study's table says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from indexer.benchmarks.covers import covers, main
from tests.helpers import trees


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.3, 2.0])
def test_every_dropped_patch_has_a_stored_one_in_its_cell_within_the_distance(distance: float) -> None:
    generator = torch.Generator().manual_seed(1)
    patches = torch.randn(30, 2, 5, 3, generator=generator)
    patches = patches / patches.norm(dim=-1, keepdim=True)
    stands_for = covers(patches, distance)
    layers, cells = torch.arange(2)[:, None], torch.arange(5)
    for reference in range(len(patches)):
        representative = stands_for[reference]  # (layers, cells)
        assert torch.equal(stands_for[representative, layers, cells], representative)  # which is stored itself
        similarity = (patches[reference] * patches[representative, layers, cells]).sum(dim=-1)
        assert similarity.min() >= 1 - distance - 1e-6
    stored = (stands_for == torch.arange(len(patches))[:, None, None]).float().mean()
    assert (stored == 1) == (distance == 0.0)
    assert distance < 2 or float(stored) == pytest.approx(1 / len(patches))


def test_the_table_has_a_row_for_each_category_and_distance_and_no_score_rises_beyond_its_bound(
    tmp_path: Path,
) -> None:
    app = typer.Typer()
    app.command()(main)
    tree = trees.mvtec(tmp_path, references=5, tests=2)
    arguments = [str(tree), "--crop", "112", "--model", "filterbank", "--epsilon", "0.01", "--epsilon", "0.2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    row = r"^\| (\w+) \| 5 \| (\S+) \| (\S+)% \| .+? \| (\S+) \| (\S+) \| (\S+) \| (\S+) \| .+ \| .+ \|$"
    rows = re.findall(row, result.output, re.MULTILINE)
    assert [(name, epsilon) for name, epsilon, *_ in rows] == [
        ("disc", "0.01"),
        ("disc", "0.2"),
        ("plate", "0.01"),
        ("plate", "0.2"),
    ]
    for _, _, _, bound, largest, good, defective in rows:
        assert 0 <= max(float(good), float(defective)) <= float(largest) <= float(bound)
    assert float(rows[0][2]) < float(rows[1][2])
