"""16-bit files with 10, 12, 14 or 16 used bits: the same light gives the same pixels."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from indexer.domain.bit_depth import BIT_DEPTHS, BitDepth, infer_bit_depth, is_narrow
from indexer.imaging.decode import ImageRejected, decode_image, read_image
from indexer.imaging.encode import encode_png
from tests.helpers.bad_images import exif, sample_pixels, tiff


def light(shape: tuple[int, ...] = (32, 48)) -> np.ndarray:
    """A ramp of light, 0 … 1, that reaches both ends."""
    return np.linspace(0, 1, int(np.prod(shape))).reshape(shape)


def stored(values: np.ndarray, form: str) -> bytes:
    """A lossless file of uint16 grey, or RGB."""
    if form == "png":
        return encode_png(values)
    if values.ndim == 2:
        return tiff(values.shape[1], values.shape[0], 16, values.astype("<u2").tobytes())
    return cv2.imencode(".tiff", values[..., ::-1])[1].tobytes()


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("shape", [(32, 48), (32, 48, 3)])
@pytest.mark.parametrize("depth", BIT_DEPTHS)
def test_the_same_light_gives_the_same_pixels_at_every_depth(
    depth: BitDepth, shape: tuple[int, ...], form: str
) -> None:
    seen = light(shape)
    values = np.round(seen * ((1 << depth) - 1)).astype(np.uint16)
    expected = np.round(seen * 255)
    expected = np.repeat(expected[..., None], 3, axis=2) if len(shape) == 2 else expected
    decoded = decode_image(stored(values, form), depth=depth)
    assert np.abs(decoded - expected).max() <= 1
    assert (decoded.min(), decoded.max()) == (0, 255)
    assert infer_bit_depth(read_image(stored(values, form)).max_value or 0) == depth


@pytest.mark.parametrize("depth", [10, 12, 14])
def test_values_in_the_upper_bits_are_read_as_sixteen(depth: BitDepth) -> None:
    low = np.round(light() * ((1 << depth) - 1)).astype(np.uint16)
    shifted = low << (16 - depth)
    assert infer_bit_depth(int(shifted.max())) == 16
    difference = decode_image(encode_png(shifted)) - decode_image(encode_png(low), depth=depth).astype(int)
    assert np.abs(difference).max() <= 1


def test_values_beyond_the_depth_are_refused_not_cut() -> None:
    data = encode_png(np.array([[0, 4096]], np.uint16).repeat(16, axis=0).repeat(8, axis=1))
    with pytest.raises(ImageRejected, match="up to 4096") as refusal:
        decode_image(data, depth=12)
    assert refusal.value.reason == "beyond-depth"
    assert decode_image(data, depth=14).max() == 64


def test_white_that_is_zero_is_white_at_every_depth() -> None:
    values = np.round(light() * 4095).astype("<u2")
    decoded = decode_image(tiff(48, 32, 16, values.tobytes(), photometric=0), depth=12)
    assert np.abs(decoded[..., 0] - np.round((1 - light()) * 255)).max() <= 1


def test_eight_bits_have_no_depth() -> None:
    data = encode_png(sample_pixels())
    assert read_image(data).max_value is None
    np.testing.assert_array_equal(decode_image(data, depth=10), sample_pixels())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_colour_comes_out_upright(orientation: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (32, 48, 3)).astype(np.uint16)
    chunk = b"eXIf" + exif(orientation)[6:]
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    sixteen, eight = (encode_png(pixels) for pixels in (values, (values >> 8).astype(np.uint8)))
    decoded = read_image(sixteen[:33] + chunk + sixteen[33:]).values
    np.testing.assert_array_equal(decoded >> 8, decode_image(eight[:33] + chunk + eight[33:]))


@pytest.mark.parametrize(
    ("largest", "depth", "narrow"),
    [(1023, 12, True), (1024, 12, False), (4095, 16, True), (255, 10, True), (16384, 16, False)],
)
def test_a_quarter_of_the_range_is_narrow(largest: int, depth: BitDepth, narrow: bool) -> None:
    assert is_narrow(largest, depth) is narrow
