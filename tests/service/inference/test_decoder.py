"""Large JPEGs are decoded at a fraction of their size; answers are about the image as it was sent."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from indexer.domain.geometry import InputGeometry, Size
from indexer.encoders import PreparedImage, prepare
from indexer.imaging.decode import ImageLimits, ImageRejected, decode_image
from service.inference.decoder import Decoder, ImageFile, Upload
from service.inference.in_flight import Budget
from service.observability.metrics import Metrics
from tests.helpers.http_service import inspect, running_service, teach
from tests.helpers.part_images import varied

FACTOR = 8
WIDTH, HEIGHT = 160 * FACTOR, 144 * FACTOR


def enlarged(seed: int, mark: tuple[int, int] | None = None) -> Image.Image:
    """A part of 1.5 megapixels; with a bright blot around a point."""
    image = np.array(Image.fromarray(decode_image(varied(seed))).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    if mark is not None:
        image[mark[1] - 60 : mark[1] + 60, mark[0] - 60 : mark[0] + 60] = 250
    return Image.fromarray(image)


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that knows a product by JPEGs of 1.5 megapixels."""
    with running_service(tmp_path_factory.mktemp("data")) as running:
        teach(running, "disc", *(jpeg(enlarged(seed)) for seed in range(20)), rate=0.1)
        yield running


def test_sizes_and_regions_are_those_of_the_file(client: TestClient) -> None:
    result = inspect(client, jpeg(enlarged(30, (900, 400))), category="disc")
    assert (result["width"], result["height"]) == (WIDTH, HEIGHT)
    left, top, width, height = max(result["regions"], key=lambda region: region["peak"])["box"]
    assert left < 900 < left + width
    assert top < 400 < top + height
    thumbnail = client.get(f"/inspections/{result['id']}/image", params={"side": 192})
    assert decode_image(thumbnail.content).shape[1] == 192


def test_a_part_scores_alike_however_its_pixels_came(client: TestClient) -> None:
    image = enlarged(31)
    png = io.BytesIO()
    image.save(png, "PNG")
    as_png = inspect(client, png.getvalue(), category="disc")
    assert "reencoded_as_references" in {notice["kind"] for notice in as_png["notices"]}
    assert as_png["score"] == pytest.approx(inspect(client, jpeg(image), category="disc")["score"], rel=1e-4)


def test_pixels_are_counted_as_they_are_decoded(tmp_path: Path) -> None:
    geometry, budget = InputGeometry.whole(160, 144), Budget(1 << 30, lambda: 1)
    seen: list[tuple[int, tuple[int, ...]]] = []

    class Preprocess:
        global_geometry = geometry

        def __call__(
            self, image: NDArray[np.uint8], geometry: InputGeometry, image_size: Size | None = None
        ) -> PreparedImage:
            seen.append((budget.used, image.shape))
            return prepare(image, geometry, self.global_geometry, image_size)

    decoder = Decoder(1, ImageLimits(), Preprocess(), Metrics(1), budget)
    upload = Upload((ImageFile("part.jpg", jpeg(enlarged(32))),))
    [decoded] = asyncio.run(decoder.decode(upload, geometry))
    decoder.close()
    assert not isinstance(decoded, ImageRejected)
    assert (decoded.original.width, decoded.original.height) == (WIDTH, HEIGHT)
    assert seen == [(3 * WIDTH * HEIGHT // 16, (HEIGHT // 4, WIDTH // 4, 3))]
    assert budget.used == 0
