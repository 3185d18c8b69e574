"""The drawn data set for comparing encoders, and the comparison's table."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from indexer.benchmarks.encoder_comparison.__main__ import app
from indexer.benchmarks.encoder_comparison.compare import compare
from indexer.benchmarks.encoder_comparison.dataset import ImageCounts, write_dataset
from indexer.benchmarks.encoder_comparison.products import DRAWN, texture
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import EncoderSettings
from indexer.evaluation.readers import read_dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_dataset(folder, {name: DRAWN[name] for name in ("disc", "weave")}, ImageCounts(3, 3, 4), seed=1)
    return folder


@pytest.mark.parametrize("name", DRAWN)
def test_a_defective_part_differs_from_the_good_one_in_its_mask_alone(name: str) -> None:
    product = DRAWN[name]
    good = product.good([1, 2]).astype(np.float32)
    bad, mask = product.defective([1, 2], next(iter(product.defects)))
    difference = np.abs(cv2.GaussianBlur(bad.astype(np.float32) - good, (0, 0), 2)).max(axis=2)
    near = cv2.dilate(mask, np.ones((21, 21), np.uint8)) > 0
    assert difference[mask > 0].max() > 6
    assert difference[~near].max() < 6


def test_another_seed_is_another_image_and_the_same_seed_the_same() -> None:
    disc = DRAWN["disc"]
    assert np.array_equal(disc.good([4]), disc.good([4]))
    assert not np.array_equal(disc.good([4]), disc.good([5]))


def test_a_texture_is_cut_at_another_place_and_size_each_time() -> None:
    y, x = np.mgrid[:200, :240]
    image = np.repeat(((x * 7 + y * 3) % 256).astype(np.uint8)[..., None], 3, axis=2)
    product = texture(image)
    first, second = product.good([1]), product.good([2])
    assert first.shape == second.shape == (512, 512, 3)
    assert not np.array_equal(first, second)


def test_what_is_written_is_read_as_a_data_set_with_its_masks(drawn: Path) -> None:
    dataset = read_dataset(drawn)
    assert dataset.categories == ("disc", "weave")
    assert len(dataset.references) == 6
    assert [sample.mask is not None for sample in dataset.samples] == [sample.defective for sample in dataset.samples]
    assert len(dataset.samples) == 14


def test_the_comparison_is_the_products_own_evaluation_of_each_encoder(drawn: Path, tmp_path: Path) -> None:
    small, large = (
        EncoderSettings("filterbank", resize=128, crop=112),
        EncoderSettings("filterbank", resize=256, crop=224),
    )
    outcomes = compare(drawn, [small, large], ScoringSettings(3), False, tmp_path)
    assert [outcome.outcome.references for outcome in outcomes] == [6, 6]
    first, second = (outcome.outcome.mean.pixel_auroc for outcome in outcomes)
    assert first is not None
    assert second is not None
    assert second > 0.7
    assert first != second


def test_the_command_prints_a_row_per_encoder_and_refuses_what_is_no_data_set(drawn: Path, tmp_path: Path) -> None:
    size = ["--resize", "128", "--crop", "112", "--pooled"]
    printed = CliRunner().invoke(app, [str(drawn), *size])
    assert printed.exit_code == 0, printed.output
    assert all(word in printed.output for word in ("builtin", "disc", "weave", "mean"))
    refused = CliRunner().invoke(app, [str(tmp_path), *size])
    assert refused.exit_code == 2
    assert "holds no data set" in refused.output
    unknown = CliRunner().invoke(app, [str(drawn), "--encoder", str(tmp_path / "gone.pth")])
    assert unknown.exit_code == 2


def test_each_data_set_is_searched_with_its_own_k_and_has_a_mean_of_its_own(drawn: Path) -> None:
    size = ["--resize", "128", "--crop", "112"]
    twice = CliRunner().invoke(app, [str(drawn), str(drawn), *size, "--k", "1", "--k", "3"])
    assert twice.exit_code == 0, twice.output
    headings, row = twice.output.split("builtin")
    assert "K = 1" in headings
    assert "K = 3" in headings
    cells = [cell.strip() for cell in row.splitlines()[0].split("│")[1:-1]]
    assert len(cells) == 6
    assert cells[:3] != cells[3:]
    too_many = CliRunner().invoke(app, [str(drawn), *size, "--k", "3", "--k", "2"])
    assert too_many.exit_code == 2
    assert "once for each folder" in too_many.output
