"""The resize against its definition, and the way back to an image's own coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.encoders import InputGeometry, preprocess
from indexer.encoders.device_preprocessing import DevicePreprocessor


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
def test_any_picture_is_resized_antialiased_within_a_255th(
    height: int, width: int, resize: int, seed: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    geometry = InputGeometry(resize, data.draw(st.integers(1, resize)))
    square = preprocess(image, geometry)
    low, high = geometry.margin, geometry.margin + geometry.crop
    expected = resized(image, resize)[low:high, low:high].transpose(2, 0, 1)
    assert square.dtype == torch.uint8
    assert square.shape == (3, geometry.crop, geometry.crop)
    assert np.abs(square.numpy() - expected).max() <= 1.01  # two roundings of at most half a step each


def test_the_papers_own_sizes_hold_it_too() -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3)).astype(np.uint8)
    expected = resized(image, 512)[32:480, 32:480].transpose(2, 0, 1)
    assert np.abs(preprocess(image, InputGeometry(512, 448)).numpy() - expected).max() <= 1.01


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    square = preprocess(image, InputGeometry(64, 64))
    np.testing.assert_array_equal(square.numpy().transpose(1, 2, 0), image)
    assert square.is_contiguous()
    image[:] = 0
    assert square.any()


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_constant_picture_stays_constant(value: int) -> None:
    image = np.full((37, 91, 3), value, np.uint8)
    assert (preprocess(image, InputGeometry(64, 48)) == value).all()


def test_a_mark_is_found_back_where_it_was() -> None:
    image = np.zeros((600, 1000, 3), np.uint8)
    image[300:330, 700:750] = 255
    geometry = InputGeometry(256, 224)
    rows, columns = np.nonzero(preprocess(image, geometry)[0].numpy() > 127)
    box = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], np.float64)
    np.testing.assert_allclose(geometry.to_original(box, (1000, 600)), [[700, 300], [750, 330]], atol=4)


def test_the_whole_crop_maps_to_the_centre_of_the_picture() -> None:
    corners = np.array([[0, 0], [448, 448]], np.float64)
    np.testing.assert_allclose(InputGeometry(512, 448).to_original(corners, (1024, 512)), [[64, 32], [960, 480]])


@pytest.mark.parametrize(("resize", "crop"), [(448, 512), (0, 0), (512, 0), (512, -16)])
def test_a_crop_that_does_not_fit_is_refused(resize: int, crop: int) -> None:
    with pytest.raises(ValueError, match="crop"):
        InputGeometry(resize, crop)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, resize=sides, seed=st.integers(0, 2**16), data=st.data())
def test_a_device_prepares_within_a_255th_of_pillow(
    height: int, width: int, resize: int, seed: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    geometry = InputGeometry(resize, data.draw(st.integers(1, resize)))
    found = DevicePreprocessor(torch.device("cpu"), geometry)(image)
    expected = preprocess(image, geometry)
    assert found.dtype == torch.uint8
    assert found.shape == expected.shape
    assert (found.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("side", [512, 640, 2048])
def test_a_device_prepares_a_cameras_picture_within_a_255th_of_pillow(side: int) -> None:
    image = np.random.default_rng(side).integers(0, 256, (side, side + 100, 3)).astype(np.uint8)
    found = DevicePreprocessor(torch.device("cpu"), InputGeometry(512, 448))(image)
    assert (found.int() - preprocess(image, InputGeometry(512, 448)).int()).abs().max() <= 1
