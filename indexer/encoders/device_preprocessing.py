"""Preprocesses images on the encoder's device, so that CPU threads only decode."""

from __future__ import annotations

import threading

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from indexer.encoders.preprocessing import InputGeometry


class DevicePreprocessor:
    """What `preprocess` does, on a device: the same antialiased resize, each value within 1/255 of Pillow's.

    Safe to call from several threads. On CUDA each thread has a stream of its own, so that one image's transfer (from
    pinned memory) and resize run beside the encoder's work on another's.
    """

    def __init__(self, device: torch.device, geometry: InputGeometry) -> None:
        self._device = device
        self._geometry = geometry
        self._threads = threading.local()

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """RGB image uint8 (height, width, 3) → uint8 (3, crop, crop) on the device, finished."""
        source = torch.from_numpy(image)
        if self._device.type != "cuda":
            return self._prepared(source.to(self._device))
        stream = self._stream()
        with torch.cuda.stream(stream):
            prepared = self._prepared(source.pin_memory().to(self._device, non_blocking=True))
            stream.synchronize()
        # It was made on this stream and is read on the encoder's: its memory must not be used again before that.
        prepared.record_stream(torch.cuda.default_stream(self._device))
        return prepared

    def _prepared(self, image: torch.Tensor) -> torch.Tensor:
        """uint8 (height, width, 3) → uint8 (3, crop, crop), where it lies."""
        planes = image.permute(2, 0, 1)[None].to(torch.float32)
        side, margin, crop = self._geometry.resize, self._geometry.margin, self._geometry.crop
        square = F.interpolate(planes, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        inside = square[0, :, margin : margin + crop, margin : margin + crop]
        return inside.round().clamp_(0, 255).to(torch.uint8).contiguous()

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._threads, "stream"):
            self._threads.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._threads.stream
        return stream
