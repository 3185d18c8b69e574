"""JPEGs that are decoded at a fraction of their size show the encoder what they show it in full."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from indexer.domain.encoding import Encoding
from indexer.domain.errors import OtherProportions
from indexer.domain.geometry import InputGeometry
from indexer.domain.reading import Reading
from indexer.encoders import prepare
from indexer.imaging.decode import ImageLimits, ImageRejected, decoded_bytes, read_image
from indexer.imaging.reading import read_pixels, reading_for
from indexer.imaging.scaled_jpeg import jpeg_divisor
from tests.helpers.bad_images import exif, saved

WIDTH, HEIGHT = 640, 480
SQUARE = InputGeometry.whole(64, 64, "stretch")
WINDOW = InputGeometry((96, 72), (32, 16, 48, 48))
GEOMETRIES = (WINDOW, SQUARE)
COARSE = Encoding("JPEG", True, 8, 75, "4:2:0")


def photograph() -> NDArray[np.uint8]:
    """Light that changes slowly, edges, and a camera's noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = 100 + 50 * np.sin(x / 70)[..., None] + np.array([10, 0, -20]) + 30 * (y > 200)[..., None]
    image[300:340, 100:160] = 230
    return np.clip(image + np.random.default_rng(0).normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    return saved(image or Image.fromarray(photograph()), "JPEG", **{"quality": 90, **options})


@pytest.mark.parametrize(
    ("size", "geometries", "divisor"),
    [
        ((4480, 4480), [InputGeometry.whole(448, 448)], 4),  # an eighth has 560, less than twice 448
        ((7168, 7168), [InputGeometry.whole(448, 448)], 8),
        ((2240, 2240), [InputGeometry.whole(448, 448)], 2),
        ((1788, 1788), [InputGeometry.whole(448, 448)], 1),
        ((2241, 2240), [InputGeometry.whole(448, 448)], 1),  # no half of it
        ((4480, 4480), [InputGeometry.whole(448, 448), InputGeometry.whole(1120, 1120)], 2),  # the larger one counts
        ((4480, 4480), [InputGeometry((1120, 1120), (0, 0, 448, 448))], 2),  # and what it is a window of
        ((4480, 2240), [InputGeometry.whole(448, 448)], 4),  # letterboxed: 448 × 224 show it
        ((4480, 2240), [InputGeometry.whole(448, 448, "stretch")], 2),
        ((4480, 4480), [InputGeometry.whole(32, 32)], 8),
        ((512, 512), [InputGeometry.whole(32, 32)], 2),  # a thumbnail takes more than the encoder
        ((4480, 4480), [], 1),
    ],
)
def test_twice_the_pixels_that_are_needed_are_decoded(
    size: tuple[int, int], geometries: list[InputGeometry], divisor: int
) -> None:
    assert jpeg_divisor(size, geometries) == divisor


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"mode": "L"}, {"mode": "CMYK"}])
def test_the_encoder_sees_the_same(options: dict[str, object]) -> None:
    mode = str(options.pop("mode", "RGB"))
    check_same(jpeg(Image.fromarray(photograph()).convert(mode), **options))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_in_every_exif_orientation(orientation: int) -> None:
    check_same(jpeg(exif=exif(orientation)))


def test_of_the_first_image_of_an_mpo() -> None:
    image = Image.fromarray(photograph())
    check_same(saved(image, "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32), "red")], quality=90))


def check_same(data: bytes) -> None:
    full, scaled = read_image(data), read_image(data, geometries=GEOMETRIES)
    assert scaled.size == full.size == full.values.shape[1::-1]
    assert scaled.values.shape[:2] == (full.size[1] // 2, full.size[0] // 2)
    assert scaled.encoding == full.encoding
    expected = prepare(full.rgb(), *GEOMETRIES)
    prepared = prepare(scaled.rgb(), *GEOMETRIES, scaled.size)
    assert prepared.placement == expected.placement
    assert prepared.overview is not None
    assert expected.overview is not None
    for ours, theirs in ((prepared.window, expected.window), (prepared.overview, expected.overview)):
        apart = (ours.int() - theirs.int()).abs().float()
        assert apart.mean() < 1
        assert apart.max() <= 8  # at an edge of 100 levels


def test_other_formats_are_decoded_in_full() -> None:
    for form in ("PNG", "BMP", "TIFF", "WEBP"):
        stored = read_image(saved(Image.fromarray(photograph()), form), geometries=GEOMETRIES)
        assert stored.values.shape[:2] == (HEIGHT, WIDTH)
        assert stored.size == (WIDTH, HEIGHT)


def test_a_finer_part_is_scaled_as_the_references_are_once_it_is_stored_like_them() -> None:
    reference = read_image(jpeg(quality=75), geometries=GEOMETRIES, stored_as=COARSE)
    assert reading_for(reference, Reading(stored_as=COARSE)).stored_as is None
    part = read_image(saved(Image.fromarray(photograph()), "PNG"), geometries=GEOMETRIES, stored_as=COARSE)
    pixels = read_pixels(part, reading_for(part, Reading(stored_as=COARSE)), GEOMETRIES)
    np.testing.assert_array_equal(pixels, reference.rgb())
    finer = read_image(jpeg(quality=95), geometries=GEOMETRIES, stored_as=COARSE)
    assert finer.values.shape[:2] == (HEIGHT, WIDTH)
    assert read_pixels(finer, Reading(stored_as=COARSE), GEOMETRIES).shape[:2] == (HEIGHT // 2, WIDTH // 2)


def test_memory_is_counted_as_it_is_taken() -> None:
    def counted(data: bytes, **options: object) -> int:
        return decoded_bytes(io.BytesIO(data), ImageLimits(), **options)  # type: ignore[arg-type]

    whole = 3 * WIDTH * HEIGHT
    assert counted(jpeg()) == whole
    assert counted(jpeg(), geometries=GEOMETRIES) == whole // 4
    assert counted(jpeg(exif=exif(6)), geometries=GEOMETRIES) == whole // 4
    assert counted(jpeg(progressive=True), geometries=GEOMETRIES) == whole  # the decoder holds all coefficients
    assert counted(jpeg(quality=95), geometries=GEOMETRIES, stored_as=COARSE) == whole
    assert counted(saved(Image.fromarray(photograph()), "PNG"), geometries=GEOMETRIES) == whole


def test_what_is_damaged_or_refused_still_is() -> None:
    data = jpeg()
    with pytest.raises(ImageRejected) as refusal:
        read_image(data[: len(data) // 2], geometries=GEOMETRIES)
    assert refusal.value.reason == "damaged"
    strict = InputGeometry.whole(64, 64, "refuse")
    with pytest.raises(OtherProportions):
        read_image(data, geometries=(strict,))
    assert decoded_bytes(io.BytesIO(data), ImageLimits(), (strict,)) == 0
