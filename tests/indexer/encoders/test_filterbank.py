"""The filter bank."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from indexer.domain.errors import EncoderError
from indexer.encoders import EncoderSettings, InputGeometry, load_encoder
from indexer.encoders.filterbank import fit as fitting
from indexer.encoders.filterbank.encoder import CONSTANTS, LAYERS, FilterBank, FilterBankEncoder, FilterLayers
from indexer.encoders.filterbank.fit import fit
from indexer.encoders.filterbank.synthetic_images import Image, photograph, scene

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> FilterBankEncoder:
    return FilterBankEncoder(InputGeometry.paper(128, 96), CPU)


def views(seed: int, count: int, crop: int = 96, shift: float = 4.0) -> torch.Tensor:
    """Photographs of one procedural scene, uint8 (count, 3, crop, crop)."""
    rng = np.random.default_rng(seed)
    image = scene(rng, crop + 32)
    return torch.stack([torch.from_numpy(photograph(rng, image, crop, shift)).permute(2, 0, 1) for _ in range(count)])


def test_the_setting_filterbank_gives_this_encoder_on_a_28_by_28_grid() -> None:
    encoder = load_encoder(EncoderSettings("filterbank", device="cpu"))
    assert isinstance(encoder, FilterBankEncoder)
    assert encoder.space.global_grid == (28, 28)
    assert len(encoder.space.layers) == 4


def test_features_have_the_announced_shape_and_unit_length(encoder: FilterBankEncoder) -> None:
    features = encoder.encode(views(0, 2))
    space = encoder.space
    assert features.patches.shape == (2, len(space.layers), math.prod(space.global_grid), space.dim)
    assert features.global_descriptors.shape == (2, space.global_dim)
    assert features.patches.dtype == features.global_descriptors.dtype == torch.float32
    torch.testing.assert_close(
        features.patches.norm(dim=-1), torch.ones(2, len(space.layers), math.prod(space.global_grid))
    )
    torch.testing.assert_close(features.global_descriptors.norm(dim=-1), torch.ones(2))


def test_an_answer_depends_neither_on_the_run_nor_on_the_batch(encoder: FilterBankEncoder) -> None:
    batch = views(1, 3)
    together, alone = encoder.encode(batch), encoder.encode(batch[1:2])
    assert torch.equal(together.patches[1:2], alone.patches)
    assert torch.equal(together.global_descriptors[1:2], alone.global_descriptors)


@pytest.mark.parametrize("crop", [16, 32, 80, 224])
@pytest.mark.parametrize("value", [0, 255])
def test_every_multiple_of_16_and_a_blank_image_can_be_encoded(crop: int, value: int) -> None:
    encoder = FilterBankEncoder(InputGeometry.paper(crop, crop), CPU)
    features = encoder.encode(torch.full((1, 3, crop, crop), value, dtype=torch.uint8))
    assert encoder.space.global_grid == (crop // 16, crop // 16)
    assert torch.isfinite(features.patches).all()
    assert torch.isfinite(features.global_descriptors).all()


def test_a_crop_that_is_no_multiple_of_16_is_refused() -> None:
    with pytest.raises(EncoderError, match="whole cells of 16"):
        FilterBankEncoder(InputGeometry.paper(128, 100), CPU)


def test_missing_constants_are_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"gone\.safetensors"):
        FilterBankEncoder(InputGeometry.paper(512, 448), CPU, tmp_path / "gone.safetensors")


@pytest.mark.parametrize("batch", [torch.zeros(1, 3, 96, 96), torch.zeros(1, 3, 80, 90, dtype=torch.uint8)])
def test_images_that_were_not_prepared_are_refused(encoder: FilterBankEncoder, batch: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        encoder.encode(batch)


def test_the_fingerprint_tells_geometries_apart_and_nothing_else() -> None:
    geometries = [InputGeometry.paper(128, 96), InputGeometry.paper(128, 112), InputGeometry.paper(112, 96)]
    prints = [FilterBankEncoder(geometry, CPU).space.fingerprint for geometry in geometries]
    assert len(set(prints)) == 3
    assert FilterBankEncoder(geometries[0], CPU).space.fingerprint == prints[0]


def test_the_fingerprint_changes_with_the_constants(encoder: FilterBankEncoder, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    stored = bytearray(CONSTANTS.read_bytes())
    stored[-1] ^= 1
    other.write_bytes(stored)
    assert FilterBankEncoder(InputGeometry.paper(128, 96), CPU, other).space.fingerprint != encoder.space.fingerprint


def test_features_are_those_that_stored_memories_hold() -> None:
    # A change of the arithmetic that moves these figures must raise `_REVISION`; refitted constants bring their own.
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    image = torch.stack([(x * x + 3 * y) % 251, (x * y // 7) % 239, (2 * x + y * y // 5) % 227])[None]
    features = FilterBankEncoder(InputGeometry.paper(128, 96), CPU).encode(image.to(torch.uint8))
    held = [
        [-0.0012, 0.01731, 0.08707],
        [-0.01931, 0.00603, -0.00326],
        [-0.00087, 0.01856, -0.03801],
        [0.02731, 0.02002, -0.16536],
    ]
    torch.testing.assert_close(features.patches[0, :, 14, :3], torch.tensor(held), atol=2e-4, rtol=0)
    held_globals = torch.tensor([0.01228, 0.07118, -0.00223, -0.05812])
    torch.testing.assert_close(features.global_descriptors[0, :4], held_globals, atol=2e-4, rtol=0)


def test_two_layers_see_a_turned_part_as_the_same_and_two_do_not() -> None:
    image = views(4, 1)
    raw, turned = (FilterBank(CPU).describe(batch) for batch in (image, image.rot90(1, (2, 3))))
    moved = [layer.unflatten(1, (6, 6)).rot90(1, (1, 2)).flatten(1, 2) for layer in raw]  # every patch where it now is
    differences = [float((now - then).abs().max()) for now, then in zip(turned, moved, strict=True)]
    assert max(differences[:2]) < 1e-3
    assert min(differences[2:]) > 0.1


def test_a_small_mark_raises_the_distance_of_its_patch_most(encoder: FilterBankEncoder) -> None:
    clean = torch.full((1, 3, 96, 96), 120, dtype=torch.uint8)
    clean[:, :, ::8] = 150
    marked = clean.clone()
    marked[:, :, 52:57, 36:42] = 20  # inside row 3, column 2
    similarity = (encoder.encode(clean).patches * encoder.encode(marked).patches).sum(-1)  # (1, layers, cells)
    assert similarity.mean(1).argmin() == 3 * 6 + 2


def test_the_strength_of_a_pattern_is_not_lost_in_a_cosine(encoder: FilterBankEncoder) -> None:
    def stripes(contrast: int) -> torch.Tensor:
        image = torch.full((1, 3, 96, 96), 128, dtype=torch.uint8)
        image[:, :, ::8] += contrast
        return encoder.encode(image).patches

    faint, middle, strong = stripes(20), stripes(40), stripes(120)
    assert (faint * middle).sum(-1).mean() > (faint * strong).sum(-1).mean()


def test_global_descriptors_tell_scenes_apart() -> None:
    encoder = FilterBankEncoder(InputGeometry.paper(224, 192), CPU)
    batch = torch.cat([views(seed, 3, 192) for seed in range(20, 32)])
    global_descriptors = encoder.encode(batch).global_descriptors
    similarity = (global_descriptors @ global_descriptors.T).fill_diagonal_(-2)
    assert torch.equal(similarity.argmax(1) // 3, torch.arange(len(batch)) // 3)


def test_the_shipped_constants_are_small_finite_and_fit_the_code() -> None:
    assert CONSTANTS.stat().st_size < 3_000_000
    assert all(torch.isfinite(values).all() for values in load_file(CONSTANTS).values())


@pytest.fixture(scope="module")
def fitted() -> dict[str, torch.Tensor]:
    """Constants of 4 scenes, fitted in one go."""
    return fit(4, 3, CPU)


def test_a_fit_is_reproducible(fitted: dict[str, torch.Tensor]) -> None:
    repeated = fit(4, 3, CPU)
    assert fitted.keys() == repeated.keys() == load_file(CONSTANTS).keys()
    assert all(torch.equal(fitted[name], repeated[name]) for name in fitted)


def test_an_interrupted_fit_continues_to_the_same_constants(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fitted: dict[str, torch.Tensor]
) -> None:
    checkpoint, drawn = tmp_path / "fit.checkpoint", itertools.count()

    def stopped_at_the_fourth(rng: np.random.Generator, side: int) -> Image:
        if next(drawn) == 3:
            raise KeyboardInterrupt
        return scene(rng, side)

    monkeypatch.setattr(fitting, "_EVERY", 2)
    monkeypatch.setattr(fitting, "scene", stopped_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        fit(4, 3, CPU, checkpoint)
    with pytest.raises(ValueError, match="of seed 3 and 2 scenes"):
        fit(4, 8, CPU, checkpoint)
    resumed = fit(4, 3, CPU, checkpoint)
    assert next(drawn) == 6  # scenes 0 to 3, the last one in vain, then only 2 and 3
    assert all(torch.equal(resumed[name], fitted[name]) for name in fitted)
    assert not checkpoint.exists()


def test_procedural_scenes_differ_by_seed_and_repeat_for_a_seed() -> None:
    scenes = [scene(np.random.default_rng(seed), 128) for seed in range(6)]
    assert np.array_equal(scenes[2], scene(np.random.default_rng(2), 128))
    assert all(not np.array_equal(one, other) for one, other in itertools.combinations(scenes, 2))


def test_filters_give_several_images_what_they_give_each_alone() -> None:
    filters = FilterLayers(LAYERS, CPU)
    batch = views(9, 3)
    together = filters.describe(batch)
    for index in range(3):
        alone = filters.describe(batch[index : index + 1])
        torch.testing.assert_close(together.descriptor[index], alone.descriptor[0])
        for several, one in zip(together.patches, alone.patches, strict=True):
            torch.testing.assert_close(several[index], one[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_and_cpu_agree(encoder: FilterBankEncoder) -> None:
    batch = views(5, 2)
    there = FilterBankEncoder(InputGeometry.paper(128, 96), torch.device("cuda")).encode(batch)
    torch.testing.assert_close(there.patches.cpu(), encoder.encode(batch).patches, atol=2e-3, rtol=0)
