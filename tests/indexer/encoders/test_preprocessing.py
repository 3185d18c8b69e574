"""The resize against its definition, and the way back to an image's own coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.encoders import InputGeometry, prepare, preprocess
from indexer.encoders.device_preprocessing import DevicePreprocessor
from indexer.encoders.encode_images import encode_images
from indexer.encoders.filterbank.encoder import FilterBankEncoder


def weights(before: int, after: int) -> NDArray[np.float64]:
    """(after, before): antialiased bilinear is a triangle as wide as one new pixel, or one old one if that is wider."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale
    distances = np.abs(np.arange(before) + 0.5 - centres[:, None]) / max(scale, 1)
    triangle = np.clip(1 - distances, 0, None)
    normalised: NDArray[np.float64] = triangle / triangle.sum(axis=1, keepdims=True)
    return normalised


def resized(image: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """(side, side, 3), in float64 and never rounded."""
    rows, columns = weights(image.shape[0], side), weights(image.shape[1], side)
    square: NDArray[np.float64] = np.einsum("ri,ijc,sj->rsc", rows, image.astype(np.float64), columns, optimize=True)
    return square


sides = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, resize=sides, seed=st.integers(0, 2**16), data=st.data())
def test_any_image_is_resized_antialiased_within_a_255th(
    height: int, width: int, resize: int, seed: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    geometry = InputGeometry.paper(resize, data.draw(st.integers(1, resize)))
    square = preprocess(image, geometry)
    low, high = geometry.window[0], geometry.window[0] + geometry.size[0]
    expected = resized(image, resize)[low:high, low:high].transpose(2, 0, 1)
    assert square.dtype == torch.uint8
    assert square.shape == (3, geometry.size[0], geometry.size[0])
    assert np.abs(square.numpy() - expected).max() <= 1.01  # two roundings of at most half a step each


def test_the_papers_own_sizes_hold_it_too() -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3)).astype(np.uint8)
    expected = resized(image, 512)[32:480, 32:480].transpose(2, 0, 1)
    assert np.abs(preprocess(image, InputGeometry.paper(512, 448)).numpy() - expected).max() <= 1.01


def test_an_image_of_the_right_size_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    square = preprocess(image, InputGeometry.paper(64, 64))
    np.testing.assert_array_equal(square.numpy().transpose(1, 2, 0), image)
    assert square.is_contiguous()
    image[:] = 0
    assert square.any()


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_constant_image_stays_constant(value: int) -> None:
    image = np.full((37, 91, 3), value, np.uint8)
    assert (preprocess(image, InputGeometry.paper(64, 48)) == value).all()


def test_a_mark_is_found_back_where_it_was() -> None:
    image = np.zeros((600, 1000, 3), np.uint8)
    image[300:330, 700:750] = 255
    geometry = InputGeometry.paper(256, 224)
    rows, columns = np.nonzero(preprocess(image, geometry)[0].numpy() > 127)
    box = [(columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)]
    located = geometry.placement((1000, 600)).to_image(box)
    np.testing.assert_allclose(located, [[700, 300], [750, 330]], atol=4)


@pytest.mark.parametrize(
    "geometry",
    [
        InputGeometry.whole(320, 192),
        InputGeometry.whole(256, 256),  # letterboxed
        InputGeometry.whole(64, 256),
        InputGeometry((400, 240), (160, 64, 208, 128)),
        InputGeometry((256, 256), (32, 32, 192, 192)),
    ],
    ids=str,
)
def test_a_mark_is_found_back_in_any_geometry(geometry: InputGeometry) -> None:
    image = np.zeros((600, 1000, 3), np.uint8)
    image[300:360, 600:750] = 255
    for window in (
        preprocess(image, geometry),
        DevicePreprocessor(torch.device("cpu"), geometry)(image, geometry).window,
    ):
        assert tuple(window.shape) == (3, *geometry.size[::-1])
        rows, columns = np.nonzero(window[0].numpy() > 127)
        box = [(columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)]
        located = geometry.placement((1000, 600)).to_image(box)
        step = 1000 / geometry.placement((1000, 600)).drawn[2]
        np.testing.assert_allclose(located, [[600, 300], [750, 360]], atol=step)


def test_a_letterboxed_image_has_its_border_repeated_and_no_patches_there() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3)).astype(np.uint8)
    geometry = InputGeometry.whole(128, 128)
    prepared = prepare(image, geometry, geometry)
    window = prepared.window.numpy()
    np.testing.assert_array_equal(window[:, :32], np.repeat(window[:, 32:33], 32, axis=1))
    np.testing.assert_array_equal(window[:, 96:], np.repeat(window[:, 95:96], 32, axis=1))
    encoder = FilterBankEncoder(InputGeometry.paper(64, 64), torch.device("cpu"))
    [features] = encode_images(encoder, [prepared])
    empty = features.without_image()
    assert empty is not None
    np.testing.assert_array_equal(empty.reshape(8, 8).all(axis=1), [True, True, False, False, False, False, True, True])
    assert empty.sum() == 32
    np.testing.assert_allclose(features.patches.norm(dim=-1)[0, 0].numpy(), 1.0 - empty, atol=1e-5)


def test_an_image_has_an_overview_where_its_window_is_another() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3)).astype(np.uint8)
    overview = InputGeometry.paper(96, 96)
    encoder = FilterBankEncoder(overview, torch.device("cpu"))
    alike, other = prepare(image, overview, overview), prepare(image, InputGeometry.whole(192, 96), overview)
    assert alike.overview is None
    first, second = encode_images(encoder, [alike, other])
    assert (first.grid, second.grid) == ((6, 6), (6, 12))
    torch.testing.assert_close(first.global_descriptors, second.global_descriptors)
    torch.testing.assert_close(second.patches, encoder.encode(other.window[None]).patches)


@pytest.mark.parametrize(("resize", "crop"), [(448, 512), (0, 0), (512, 0), (512, -16)])
def test_a_crop_that_does_not_fit_is_refused(resize: int, crop: int) -> None:
    with pytest.raises(ValueError, match="crop"):
        InputGeometry.paper(resize, crop)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, resize=sides, seed=st.integers(0, 2**16), data=st.data())
def test_a_device_prepares_within_a_255th_of_pillow(
    height: int, width: int, resize: int, seed: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    geometry = InputGeometry.paper(resize, data.draw(st.integers(1, resize)))
    prepared = DevicePreprocessor(torch.device("cpu"), geometry)(image, geometry).window
    expected = preprocess(image, geometry)
    assert prepared.dtype == torch.uint8
    assert prepared.shape == expected.shape
    assert (prepared.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("side", [512, 640, 2048])
def test_a_device_prepares_a_cameras_image_within_a_255th_of_pillow(side: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (side, side + 100, 3)).astype(np.uint8)
    geometry = InputGeometry.paper(512, 448)
    prepared = DevicePreprocessor(torch.device("cpu"), geometry)(image, geometry).window
    assert (prepared.int() - preprocess(image, geometry).int()).abs().max() <= 1
