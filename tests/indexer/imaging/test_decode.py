"""The decoder against hand-made files, Pillow's own pixels, and damage at random."""

from __future__ import annotations

import io
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from indexer.imaging.decode import ImageLimits, ImageRejected, decode_image
from indexer.imaging.encode import encode_png
from tests.helpers.bad_images import Case, bad_images, exif, png, sample_pixels, saved, tiff

# What production ignores for the whole process, pytest turns into errors again in every test.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

CASES = bad_images()
ACCEPTED = [case for case in CASES if case.reason is None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_odd_file_is_decoded_or_refused_as_stated(case: Case) -> None:
    begun = time.monotonic()
    if case.reason is None:
        image = decode_image(case.data)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.flags.c_contiguous
        assert image.flags.writeable
    else:
        with pytest.raises(ImageRejected) as refusal:
            decode_image(case.data)
        assert refusal.value.reason == case.reason
        assert refusal.value.detail.endswith(".")
    assert time.monotonic() - begun < 10, "a thread that decodes is held"


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(CASES) >= 45
    assert {case.reason for case in CASES} == {
        *("empty", "too-many-bytes", "not-an-image", "too-small", "side-too-long", "too-many-pixels"),
        *("several-frames", "transparent", "unsupported-depth", "damaged"),
        None,
    }


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.reason == "too-many-pixels"], ids=lambda case: case.name
)
def test_a_bomb_is_refused_before_its_pixels_take_memory(case: Case) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ImageRejected):
            decode_image(case.data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_every_exif_orientation_comes_out_upright(form: str, orientation: int) -> None:
    upright = Image.fromarray(sample_pixels())
    # How a camera held that way stores the image.
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(stored, form, exif=exif(orientation), **options)
    np.testing.assert_array_equal(decode_image(data), sample_pixels())


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "L", "I;16"])
def test_orientation_holds_for_every_pixel_type(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(sample_pixels()[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(sample_pixels()).convert(mode)
    plain = decode_image(saved(image, "PNG"))
    turned = decode_image(saved(image, "PNG", exif=exif(6)))
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


def test_a_sixteen_bit_ramp_does_not_collapse() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(ramp / 257).astype(np.uint8)
    for data in (encode_png(ramp), tiff(256, 256, 16, ramp.astype("<u2").tobytes())):
        image = decode_image(data)
        np.testing.assert_array_equal(image, np.repeat(expected[..., None], 3, axis=2))
    inverted = decode_image(tiff(256, 256, 16, ramp.astype("<u2").tobytes(), photometric=0))
    np.testing.assert_array_equal(inverted[..., 0], 255 - expected)


def test_sixteen_bit_colour_is_within_a_255th() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (32, 48, 3)).astype(np.uint16)
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    assert np.abs(decode_image(png(48, 32, 16, 2, rows)) - values / 257.0).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_lossless_files_keep_every_pixel(form: str, mode: str) -> None:
    if (form, mode) == ("TIFF", "P"):
        image = Image.fromarray(sample_pixels()).quantize(200)
    else:
        image = Image.fromarray(sample_pixels()).convert(mode)
    np.testing.assert_array_equal(decode_image(saved(image, form)), np.asarray(image.convert("RGB")))


def test_cmyk_comes_out_near_the_colours_it_was_made_of() -> None:
    image = decode_image(saved(Image.fromarray(sample_pixels()).convert("CMYK"), "JPEG", quality=95, subsampling=0))
    assert np.abs(image.astype(int) - sample_pixels()).mean() < 4


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    image = Image.fromarray(sample_pixels())
    np.testing.assert_array_equal(decode_image(saved(image.convert("RGBA"), "PNG")), decode_image(saved(image, "PNG")))


def test_the_primary_image_of_an_mpo_is_read() -> None:
    first, second = Image.fromarray(sample_pixels()), Image.new("RGB", (48, 32), "red")
    image = decode_image(saved(first, "MPO", save_all=True, append_images=[second], quality=95))
    np.testing.assert_array_equal(image, decode_image(saved(first, "JPEG", quality=95)))


def test_a_path_and_its_bytes_give_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(saved(Image.fromarray(sample_pixels()), "PNG"))
    np.testing.assert_array_equal(decode_image(path), decode_image(path.read_bytes()))


def test_a_heavy_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "heavy.png"
    with path.open("wb") as file:
        file.truncate(10 << 30)  # a hole: it has the size and takes no room
    with pytest.raises(ImageRejected) as refusal:
        decode_image(path)
    assert refusal.value.reason == "too-many-bytes"


def test_a_file_that_is_not_there_is_no_bad_image(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode_image(tmp_path / "none.png")


def test_limits_are_settings() -> None:
    data = saved(Image.fromarray(sample_pixels()), "PNG")
    for limits, reason in (
        (ImageLimits(max_bytes=100), "too-many-bytes"),
        (ImageLimits(max_pixels=48 * 32 - 1), "too-many-pixels"),
        (ImageLimits(max_side=47), "side-too-long"),
        (ImageLimits(min_side=33), "too-small"),
    ):
        with pytest.raises(ImageRejected) as refusal:
            decode_image(data, limits)
        assert refusal.value.reason == reason
    decode_image(data, ImageLimits(max_bytes=len(data), max_pixels=48 * 32, max_side=48, min_side=32))


def test_images_decode_the_same_in_many_threads_and_leave_warnings_alone() -> None:
    cases = [case for case in ACCEPTED if len(case.data) < 1 << 20]
    alone = [decode_image(case.data) for case in cases]
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda case: decode_image(case.data), cases * 4))
    for index, image in enumerate(together):
        np.testing.assert_array_equal(image, alone[index % len(cases)])
    assert warnings.filters == filters


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_at_random_is_refused_or_decoded_and_nothing_else(data: st.DataObject) -> None:
    files = [case.data for case in ACCEPTED if len(case.data) < 20_000 and not case.name.startswith("TIFF")]
    damaged = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(damaged)))
    for candidate in (bytes(damaged), bytes(damaged[:cut])):
        try:
            image = decode_image(candidate)
        except ImageRejected:
            continue
        assert image.shape[2] == 3


@pytest.mark.parametrize("shape", [(32, 48, 3), (32, 48)])
def test_a_written_png_reads_back_as_it_was(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), image)


def test_a_written_sixteen_bit_png_reads_back_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (32, 48)).astype(np.uint16)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), image)


def test_a_limit_beyond_pillows_own_holds() -> None:
    # 180 million pixels, none of which are there: the size passes, and the pixels are missed.
    data = png(13_440, 13_440, 8, 0, b"")
    for most, reason in ((64_000_000, "too-many-pixels"), (200_000_000, "damaged")):
        with pytest.raises(ImageRejected) as refusal:
            decode_image(data, ImageLimits(max_pixels=most))
        assert refusal.value.reason == reason
