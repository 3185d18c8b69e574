"""Images are encoded together and apart; values that are not finite never become features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from indexer.domain.errors import ImageNotEncodable
from indexer.domain.geometry import InputGeometry
from indexer.encoders import prepare
from indexer.encoders.base import Features
from indexer.encoders.encode_images import encode_images
from indexer.encoders.filterbank.encoder import FilterBankEncoder

GEOMETRY = InputGeometry.paper(64, 64)


class Overflowing(FilterBankEncoder):
    """Fails on dark images, as a network in float16 does on some."""

    def encode(self, batch: torch.Tensor) -> Features:
        features = super().encode(batch)
        dark = batch.float().mean(dim=(1, 2, 3)) < 10
        patches = torch.where(dark[:, None, None, None], torch.nan, features.patches)
        return Features(features.global_descriptors, patches, features.grid)


def test_an_image_whose_values_are_not_finite_is_refused_instead_of_passed_as_normal() -> None:
    encoder = Overflowing(GEOMETRY, torch.device("cpu"))
    dark, light = (prepare(np.full((64, 64, 3), level, np.uint8), GEOMETRY, GEOMETRY) for level in (0, 200))
    assert len(encode_images(encoder, [light])) == 1
    with pytest.raises(ImageNotEncodable, match="not finite"):
        encode_images(encoder, [dark])
    with pytest.raises(ImageNotEncodable, match="not finite"):
        encode_images(encoder, [light, dark])
