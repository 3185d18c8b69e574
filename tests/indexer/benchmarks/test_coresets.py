"""The study of coresets: a row for all references and one for each share, and no score rises beyond its bound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from indexer.benchmarks.coresets import main
from tests.helpers import trees


def test_the_table_has_a_row_for_each_category_and_share_and_keeps_the_bound(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    tree = trees.mvtec(tmp_path, references=6, tests=2)
    arguments = [str(tree), "--crop", "112", "--model", "filterbank", "--share", "0.5", "--share", "0.2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = [re.split(r" *\| *", line)[1:-1] for line in result.output.splitlines()[2:]]
    assert [row[:4] for row in rows] == [
        [name, "6", share, patches]
        for name in ("disc", "plate")
        for share, patches in (("1", "6"), ("0.5", "3"), ("0.2", "2"))
    ]
    for whole, *coresets in (rows[:3], rows[3:]):
        assert [float(value) for value in whole[6:10]] == [0, 0, 0, 0]
        assert 0 <= float(whole[10]) <= 1
        for row in coresets:
            bound, largest, good, defective = map(float, row[6:10])
            assert 0 <= max(good, defective) <= largest <= bound
        assert float(coresets[0][4]) * 2 == pytest.approx(float(whole[4]), abs=0.011)
        assert float(coresets[0][6]) <= float(coresets[1][6])
