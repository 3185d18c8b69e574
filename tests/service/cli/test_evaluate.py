"""`touchstone evaluate` as a command: its output and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from service.cli.app import app
from tests.helpers import trees


def evaluate(*arguments: str | Path) -> Result:
    """`touchstone evaluate` to its end, in this process."""
    environment = {"COLUMNS": "160", "TOUCHSTONE_DEVICE": "cpu"}
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env=environment)


def test_a_data_set_is_evaluated_and_the_table_shown(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "parts", references=4, tests=2)
    done = evaluate(
        tree, "--out", tmp_path / "out", "--resize", "128", "--crop", "112", "--category", "disc", "--k", "3"
    )
    assert done.exit_code == 0, done.stderr
    assert "1 categories, 4 references, 4 test images, 2 of them defective, 2 with a mask" in done.stdout
    assert "K = 3, ρ = 1" in done.stdout
    assert "AUPRO" in done.stdout
    assert (tmp_path / "out" / "report.md").is_file()


def test_a_bad_image_is_named_and_costs_the_exit_code_only(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "parts", ("disc",), references=3, tests=2)
    good = tree / "disc/test/good/001.png"
    good.write_bytes(good.read_bytes()[:500])
    done = evaluate(tree, "--out", tmp_path / "out", "--resize", "128", "--crop", "112", "--no-plots")
    assert done.exit_code == 1, done.stderr
    assert "Left out: disc/test/good/001.png: The image is damaged or cut short" in done.stdout
    assert "1 categories, 3 references, 3 test images" in done.stdout


def test_help_teaches_layout_protocols_and_resuming() -> None:
    shown = evaluate("--help").stdout
    words = ["ground_truth", "multi-class", "few-shot", "incremental", "onboarding", "ablation", "resume", "Examples"]
    for word in (*words, "--seeds", "--shots", "--fixed", "--new"):
        assert word in shown, word


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "is not a folder"),
        (["."], "holds no data set"),
        (["parts", "--protocol", "magic"], "unknown protocol 'magic': choose one of multi-class"),
        (["parts", "--dataset", "coco"], "unknown dataset 'coco': choose one of mvtec-ad"),
        (["parts", "--category", "cup"], "no category 'cup'"),
        (["parts", "--encoder", "missing.pth"], "missing.pth"),
        (["parts", "--encoder", "builtin", "--encoder", "other"], "--protocol encoders"),
        (["parts", "--rho", "17"], "rho: give 0 to 16, or 255"),
        (["parts", "--rho", "far"], "--rho is a number of cells or advised, not 'far'"),
        (["parts", "--k", "0"], "k must be 1 or more"),
        (["parts", "--crop", "500", "--resize", "400"], "crop"),
        (["parts", "--codec", "zip"], "CODEC"),
        (["half"], "1 of 2 images"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    trees.mvtec(tmp_path / "parts", references=2, tests=1)
    trees.mvtec(tmp_path / "half", references=2, tests=2)
    (tmp_path / "half/disc/ground_truth/scratch/000_mask.png").unlink()
    monkeypatch.chdir(tmp_path / "parts/disc/train" if arguments == ["."] else tmp_path)
    done = evaluate(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.startswith("touchstone: ")
    assert done.stderr.count("\n") == 1
