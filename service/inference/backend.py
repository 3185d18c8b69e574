"""What encodes images and searches patches for a service: this process, or something else that does the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from indexer.cores import SideBySide
from indexer.encoders import Encoder, EncoderSettings, load_encoder
from indexer.search import PatchSearchEngine, choose_engine


@dataclass(frozen=True)
class Backend:
    """An encoder and an engine. concurrent_batches: how many batches they work on at once, each from a thread."""

    encoder: Encoder
    engine: PatchSearchEngine
    concurrent_batches: int = 1


def local_backend(settings: EncoderSettings, device_memory_share: float) -> Backend:
    """This process. device_memory_share: see `choose_engine`. EncoderError."""
    encoder = serving_encoder(settings)
    return Backend(encoder, choose_engine(encoder.device, device_memory_share))


def serving_encoder(settings: EncoderSettings) -> Encoder:
    """The encoder; on a CPU with several threads, one that encodes the images of a batch side by side. EncoderError."""
    encoder = load_encoder(settings)
    in_torch = encoder.device.type == "cpu" and settings.runtime == "torch" and not settings.compiled
    return SideBySide(encoder) if in_torch and torch.get_num_threads() > 1 else encoder
