"""Compiles the encoder's kernels before the first request."""

from __future__ import annotations

import torch

from indexer.encoders import Encoder


def warm_up(encoder: Encoder, batch_size: int) -> None:
    """Encode a blank batch of every bucket, so that nothing is compiled while a line waits."""
    width, height = encoder.space.global_geometry.size
    for doublings in range((batch_size - 1).bit_length() + 1):
        encoder.encode(torch.zeros((1 << doublings, 3, height, width), dtype=torch.uint8))
