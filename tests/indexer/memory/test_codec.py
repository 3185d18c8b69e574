"""Codes of few bits: their error is known from the code, and bounds what they change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from indexer.encoders import Features
from indexer.memory import CODEC_NAMES, Codec
from tests.helpers.patch_search_oracle import best_similarities

KINDS = ("normal", "one value", "massive", "constant", "alike")


def patches_of(kind: str, count: int, dim: int, seed: int) -> torch.Tensor:
    """Unit patches (count, 2, 6, dim), such as a codec of few bits may find difficult."""
    values = torch.randn((count, 2, 6, dim), generator=torch.Generator().manual_seed(seed))
    if kind == "one value":
        values = F.one_hot(values.argmax(dim=-1), dim).float()
    elif kind == "massive":
        values[..., seed % dim] = 50.0
    elif kind == "constant":
        values = torch.ones_like(values)
    elif kind == "alike":
        values = values[:1] + 0.01 * values
    return F.normalize(values, dim=-1)


def encoded(codec: Codec, patches: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(codec.encode(Features(torch.zeros(len(patches), 1), patches, (2, 3))).codes)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    name=st.sampled_from(CODEC_NAMES),
    dim=st.integers(1, 130),
    seed=st.integers(0, 10_000),
)
def test_no_patch_is_further_from_its_code_than_the_code_says(kind: str, name: str, dim: int, seed: int) -> None:
    codec, patches = Codec.from_name(name, dim), patches_of(kind, 3, dim, seed)
    codes = encoded(codec, patches)
    errors = (codec.from_basis(codec.decode(codes)) - patches).norm(dim=-1)
    bounds = codec.error_bounds(codes)
    assert (errors <= bounds + 1e-6).all()
    if name == "int4":  # known, not only bounded
        torch.testing.assert_close(bounds.square(), errors.square(), rtol=0, atol=3e-5)


@settings(max_examples=60, deadline=None)
@given(
    stored_kind=st.sampled_from(KINDS),
    query_kind=st.sampled_from(KINDS),
    dim=st.integers(1, 130),
    rho=st.integers(0, 2),
    weight=st.floats(0, 1),
    seed=st.integers(0, 10_000),
)
def test_no_fused_distance_moves_further_than_the_layers_errors_allow(
    stored_kind: str, query_kind: str, dim: int, rho: int, weight: float, seed: int
) -> None:
    codec = Codec.from_name("int4", dim)
    stored, query = patches_of(stored_kind, 4, dim, seed), patches_of(query_kind, 1, dim, seed + 1)[0]
    codes = encoded(codec, stored)
    largest = codec.error_bounds(codes).amax(dim=(0, 2)).numpy()  # (layers,)
    decoded = codec.from_basis(codec.decode(codes))
    exact, moved = (best_similarities(query.numpy(), bank.numpy(), (2, 3), rho) for bank in (stored, decoded))
    weights = np.array([weight, 1 - weight])
    assert (np.abs(weights @ (moved - exact)) <= weights @ largest + 1e-5).all()


@pytest.mark.parametrize("dim", [64, 384, 768])
def test_four_bits_take_half_a_byte_a_value_and_their_error_is_a_tenth(dim: int) -> None:
    codec = Codec.from_name("int4", dim)
    assert codec.code_size == dim // 2 + 4
    codes = encoded(codec, patches_of("normal", 20, dim, 1))
    assert codec.error_bounds(codes).mean() < 0.1
    assert codec.error_bounds(codes).max() < 0.14


def test_a_vision_transformers_massive_values_cost_four_bits_nothing() -> None:
    codec = Codec.from_name("int4", 768)
    spread, massive = (
        codec.error_bounds(encoded(codec, patches_of(kind, 8, 768, 1))) for kind in ("normal", "massive")
    )
    assert massive.mean() < 1.2 * spread.mean()


def test_where_there_is_no_image_four_bits_store_zeros() -> None:
    codec = Codec.from_name("int4", 40)
    patches = patches_of("normal", 2, 40, 1)
    patches[0, :, 3] = 0
    codes = encoded(codec, patches)
    decoded = codec.from_basis(codec.decode(codes))
    assert not decoded[0, :, 3].any()
    assert (codec.error_bounds(codes)[0, :, 3] == 0).all()
    assert decoded[1].any(dim=-1).all()


def test_four_bit_codes_stay_as_memories_hold_them() -> None:
    patches = F.normalize(torch.arange(1.0, 11.0), dim=0).expand(1, 2, 6, 10)
    code = encoded(Codec.from_name("int4", 10), patches)[0, 0, 0]
    assert bytes(code[:5].tolist()).hex() == "38e40d3cc8"
    assert float(code[5:].clone().view(torch.float32)) == pytest.approx(0.00465317, rel=1e-5)
