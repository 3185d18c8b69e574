"""Blank frames are recognised with every encoder that ships."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clients.demo.factory import render_good
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import EncoderSettings, load_encoder
from indexer.encoders.preprocessing import preprocess
from indexer.scoring.image_statistics import from_distances


@pytest.mark.parametrize("encoder_name", ["filterbank", "builtin", "builtin-fine"])
def test_a_frame_of_any_grey_with_a_sensors_noise_is_blank_and_a_part_is_not(encoder_name: str) -> None:
    encoder = load_encoder(EncoderSettings(encoder_name, device="cpu"))
    frame = encoder.space.global_geometry.frame(encoder.space.patch)
    distances = np.zeros((len(encoder.space.layers), math.prod(encoder.space.global_grid)), np.float32)

    def blank(image: np.ndarray) -> bool:
        features = encoder.encode(preprocess(image, encoder.space.global_geometry)[None])
        return from_distances(distances, 1.0, features, frame, ScoringSettings()).is_blank

    noise = np.random.default_rng(0).normal(0, 2, (512, 512, 3))
    frames = [np.clip(grey + noise, 0, 255).astype(np.uint8) for grey in (0, 60, 128, 255)]
    assert all(blank(frame) for frame in frames)
    assert not any(blank(render_good(product, 0).image) for product in ("board", "fabric", "sheet"))
