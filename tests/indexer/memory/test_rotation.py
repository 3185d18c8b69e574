"""The rotation keeps lengths and inner products, is undone, spreads single values, and never changes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from indexer.memory.rotation import Rotation


@settings(max_examples=50, deadline=None)
@given(dim=st.integers(1, 200), seed=st.integers(0, 1000))
def test_inner_products_stay_and_it_is_undone(dim: int, seed: int) -> None:
    vectors = F.normalize(torch.randn((3, 4, dim), generator=torch.Generator().manual_seed(seed)), dim=-1)
    rotated = Rotation(dim).apply(vectors)
    torch.testing.assert_close(rotated @ rotated.transpose(1, 2), vectors @ vectors.transpose(1, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(Rotation(dim).undo(rotated), vectors, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dim", [32, 64, 384, 768, 1024])
def test_a_single_value_is_spread_over_all(dim: int) -> None:
    rotated = Rotation(dim).apply(torch.eye(dim))
    assert rotated.abs().max() <= 2.001 / dim**0.5  # of a product of two cosines, each √2 times its root mean square


def test_it_stays_as_stored_codes_know_it() -> None:
    rotated = Rotation(6).apply(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert rotated.tolist() == pytest.approx([-1.2247, 1.2247, -7.0, 3.0, 5.1962, -1.7321], abs=1e-4)
