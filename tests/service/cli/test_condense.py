"""`touchstone condense`: what it prints, what it leaves, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from indexer.domain.scoring_settings import ScoringSettings
from indexer.scoring.scoring import score_image
from indexer.search import choose_engine
from tests.helpers.commands import indexed, opened, small_encoder, touchstone
from tests.helpers.part_folders import folder_of


@pytest.fixture(scope="module")
def indexed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("condense")
    return indexed(root / "data", folder_of(root / "parts", ".", disc=8, plate=2))


@pytest.fixture
def data(indexed_once: Path) -> Path:
    """A data folder whose categories are not condensed."""
    touchstone("condense", "disc", "plate", "--undo", data=indexed_once)
    return indexed_once


def scores(data: Path) -> np.ndarray:
    """The distances of the first reference to all others of its category: float32 (layers, cells)."""
    store = opened(data)
    try:
        memory = store.memory
        row = int(memory.rows_of("disc")[0])
        engine = choose_engine(small_encoder().device)
        return score_image(memory, engine, memory.features_of(row), ScoringSettings(k=8), "disc").distances
    finally:
        store.close()


def test_a_category_is_searched_in_half_of_its_patches_and_again_in_all(data: Path) -> None:
    whole = scores(data)
    done = touchstone("condense", "disc", data=data)
    assert done.exit_code == 0, done.output
    line = re.fullmatch(
        r"disc: 4 of 8 patches in each place are searched, [\d.]+ MB\. No score rises by more than ([\d.]+) \(.+\)\.\n",
        done.stdout,
    )
    assert line is not None, done.stdout
    rises = scores(data) - whole
    assert rises.max() > 1e-3
    assert -1e-4 < rises.min() <= rises.max() <= float(line[1])
    said = touchstone("verify", data=data)
    assert f"disc: 4 of 8 patches in each place raise no score by more than {line[1]} (" in said.stdout
    undone = touchstone("condense", "disc", "--undo", data=data)
    assert re.fullmatch(r"disc: all references are searched from version \d+ on\.\n", undone.stdout)
    assert np.array_equal(scores(data), whole)
    assert touchstone("condense", "disc", "--undo", data=data).stdout == "disc: all references are searched already.\n"


def test_a_bound_is_kept(data: Path) -> None:
    done = touchstone("condense", "disc", "--bound", "0.9", data=data)
    assert done.exit_code == 0, done.output
    line = re.search(r"No score rises by more than ([\d.]+)", done.stdout)
    assert line is not None
    assert float(line[1]) <= 0.9


def test_a_category_that_cannot_be_condensed_keeps_none_of_the_others_from_it(data: Path) -> None:
    done = touchstone("condense", "nut", "disc", "plate", "--share", "0.6", data=data)
    assert done.exit_code == 1
    assert done.stdout.startswith("disc: 5 of 8 patches")
    assert done.stderr.splitlines()[-2:] == [
        "touchstone: nut: there is no category 'nut'",
        "touchstone: plate: plate has 2 references: such a share of them saves nothing",
    ]
    store = opened(data)
    assert [record.category for record in store.catalogue.coresets.finished(store.memory_id)] == ["disc"]
    assert store.catalogue.coresets.requested() == ()
    store.close()


def test_a_removed_reference_ends_it_as_verify_says(data: Path) -> None:
    assert touchstone("condense", "plate", "--share", "0.5", data=data).exit_code == 0
    store = opened(data)
    reference = int(store.memory.ids[store.memory.rows_of("plate")[0]])
    store.remove([reference])
    assert store.memory.coresets == {}
    store.close()
    said = touchstone("verify", data=data).stdout
    assert "plate: its coreset is not searched: references that it stands for are gone\n" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--share", "0.5", "--bound", "0.2"], "give one of --share, --bound and --undo"),
        (["--share", "1.5"], "the share of patches to search must be above 0 and below 1"),
        (["--bound", "0"], "the bound must be above 0 and below 2, the largest distance"),
        (["--share", "nan"], "the share of patches to search must be above 0 and below 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = touchstone("condense", "disc", *arguments, data=tmp_path / "none")
    assert (done.exit_code, done.stderr) == (2, f"touchstone: {message}\n")
