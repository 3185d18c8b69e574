"""An image larger than one pass is encoded in overlapping windows without visible seams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexer.benchmarks.cpu.plan import Vit
from indexer.benchmarks.cpu.subjects import vit_model
from indexer.domain.geometry import InputGeometry
from indexer.encoders import Encoder, EncoderSettings, load_encoder
from indexer.encoders.base import Features
from indexer.encoders.filterbank.encoder import FilterBankEncoder
from indexer.encoders.vit import VitEncoder
from indexer.encoders.windows import encode_in_windows, window_shape

CPU = torch.device("cpu")
PATCH = 16


class Small:
    """An encoder with smaller passes, so that a small image takes many; counts their cells."""

    def __init__(self, encoder: Encoder, max_pass_cells: int) -> None:
        self.space, self.device, self.max_pass_cells = encoder.space, encoder.device, max_pass_cells
        self._encoder = encoder
        self.passes: list[int] = []

    def encode(self, batch: torch.Tensor) -> Features:
        self.passes.append(len(batch) * batch.shape[2] * batch.shape[3] // PATCH**2)
        return self._encoder.encode(batch)


def encoders() -> list[Encoder]:
    settings = EncoderSettings(resize=224, crop=224, device="cpu")
    torch.manual_seed(0)
    transformer = vit_model(Vit("random ViT", 64, 2, 4), 224)
    return [
        FilterBankEncoder(InputGeometry.paper(224, 224), CPU),
        load_encoder(settings),
        VitEncoder(transformer, replace(settings, model="random ViT"), InputGeometry.paper(224, 224), CPU),
    ]


ENCODERS = pytest.mark.parametrize("encoder", encoders(), ids=lambda encoder: encoder.space.encoder)


def texture(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """uint8 (3, H, W): the same tile in every cell, with a sensor's noise."""
    rng = np.random.default_rng(seed)
    tile = np.random.default_rng(7).integers(90, 160, (3, PATCH, PATCH))
    image = np.tile(tile, (1, rows, columns)) + rng.normal(0, 2, (3, rows * PATCH, columns * PATCH))
    return torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(64, 1024))
def test_windows_have_at_most_so_many_cells_and_fit_the_grid(rows: int, columns: int, most: int) -> None:
    height, width = window_shape((rows, columns), most)
    assert height * width <= most
    assert 1 <= height <= rows
    assert 1 <= width <= columns


def test_the_filters_of_windows_are_those_of_the_whole_image() -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 30 * PATCH, 41 * PATCH)).astype(np.uint8))
    encoder = FilterBankEncoder(InputGeometry.paper(224, 224), CPU)
    small = Small(encoder, 256)
    torch.testing.assert_close(encode_in_windows(small, image), encoder.encode(image[None]).patches, atol=2e-5, rtol=0)
    assert max(small.passes) <= 4096


@ENCODERS
def test_seams_are_invisible_on_a_flat_texture(encoder: Encoder) -> None:
    grid = (30, 44)
    first, second = (
        encode_in_windows(Small(encoder, 400), texture(*grid, seed))[0].view(-1, *grid, encoder.space.dim)
        for seed in (1, 2)
    )
    distance = 1 - (first * second).sum(-1).mean(0)  # (rows, columns): what noise alone makes
    along = distance.mean(0)[2:-2]
    assert along.max() <= 3 * along.mean() + 1e-4
    steps = (1 - (first[:, :, 1:] * first[:, :, :-1]).sum(-1)).mean((0, 1))[2:-2]  # from each column to the next
    assert steps.max() <= 3 * steps.median() + 0.02


@ENCODERS
def test_a_defect_on_a_border_between_windows_scores_as_one_in_a_windows_middle(encoder: Encoder) -> None:
    grid = (10, 60)  # windows of 20 columns: the seams lie at every tenth or so
    small = Small(encoder, 200)
    clean = encode_in_windows(small, texture(*grid, 1))[0]
    peaks = []
    for column in range(12, 42, 3):  # in and between the windows
        image = texture(*grid, 2)
        x = column * PATCH + 3
        image[:, 5 * PATCH + 3 : 5 * PATCH + 13, x : x + 10] = 255
        marked = encode_in_windows(small, image)[0]
        distance = (1 - (clean * marked).sum(-1)).mean(0).view(grid)
        assert divmod(int(distance.argmax()), grid[1]) == (5, column)
        peaks.append(float(distance.max()))
    assert min(peaks) >= 0.8 * float(np.median(peaks))
