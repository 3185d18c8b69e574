"""How a file's encoding is recognised."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from indexer.domain.encoding import Encoding
from indexer.imaging.decode import read_image
from indexer.imaging.encode import encode_png
from indexer.imaging.encoding import apply_encoding
from tests.helpers.bad_images import sample_pixels, saved


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 85, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_estimated_for_any_encoder(quality: int) -> None:
    written = cv2.imencode(".jpg", sample_pixels(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    for data in (written, saved(Image.fromarray(sample_pixels()), "JPEG", quality=quality)):
        encoding = read_image(data).encoding
        assert (encoding.format, encoding.lossy, encoding.quality, encoding.subsampling) == (
            "JPEG",
            True,
            quality,
            "4:2:0",
        )


@pytest.mark.parametrize(("option", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_chroma_subsampling_is_recognised(option: int, name: str) -> None:
    data = saved(Image.fromarray(sample_pixels()), "JPEG", quality=90, subsampling=option)
    assert str(read_image(data).encoding) == f"JPEG, quality 90, {name}"
    assert read_image(saved(Image.fromarray(sample_pixels()).convert("L"), "JPEG")).encoding.subsampling is None


@pytest.mark.parametrize(
    ("option", "name"),
    [(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, "4:4:0"), (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411, "4:1:1")],
)
def test_a_colour_jpeg_of_unusual_subsampling_is_not_taken_for_a_grey_one(option: int, name: str) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, option]
    encoding = read_image(cv2.imencode(".jpg", sample_pixels(), options)[1].tobytes()).encoding
    assert str(encoding) == f"JPEG, quality 90, {name}"
    assert not Encoding("PNG", False, 8).is_finer_than(encoding)  # it cannot be stored so
    assert not encoding.is_finer_than(Encoding("JPEG", True, 8, 75, "4:2:0"))
    with pytest.raises(ValueError, match="cannot be made"):
        apply_encoding(sample_pixels(), encoding)


def test_a_cmyk_jpeg_is_not_taken_for_a_grey_one() -> None:
    encoding = read_image(saved(Image.fromarray(sample_pixels()).convert("CMYK"), "JPEG", quality=90)).encoding
    assert encoding.subsampling is not None
    assert not encoding.can_be_made


@pytest.mark.parametrize(
    ("form", "options", "lossy"),
    [
        ("PNG", {}, False),
        ("BMP", {}, False),
        ("TIFF", {}, False),
        ("TIFF", {"compression": "jpeg"}, True),
        ("WEBP", {"lossless": True}, False),
        ("WEBP", {"quality": 80}, True),
        ("WEBP", {"quality": 80, "icc_profile": bytes(200)}, True),
        ("WEBP", {"lossless": True, "icc_profile": bytes(201)}, False),
        ("MPO", {}, True),
    ],
)
def test_lossy_and_lossless_formats_are_distinguished(form: str, options: dict[str, object], lossy: bool) -> None:
    encoding = read_image(saved(Image.fromarray(sample_pixels()), form, **options)).encoding
    assert (encoding.format, encoding.lossy) == ("JPEG" if form == "MPO" else form, lossy)


def test_sixteen_bits_are_recognised() -> None:
    assert read_image(encode_png(np.zeros((32, 32), np.uint16))).encoding == Encoding("PNG", False, 16)
