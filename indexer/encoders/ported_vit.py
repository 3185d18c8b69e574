"""A vision transformer whose blocks another runtime than torch carries out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import BeitModel

from indexer.domain.errors import EncoderError
from indexer.encoders.base import EncoderSettings, Features, grid_of, join_features
from indexer.encoders.runtimes import convert, in_runtime
from indexer.encoders.runtimes.conversion import Network
from indexer.encoders.vit import VitEncoder


class PortedVit:
    """A `VitEncoder` cut in two: embeddings, which depend on an image's size, stay torch's; the blocks after them, 99 %
    of the work, take any number of tokens, and are carried out by another runtime.

    Satisfies `Encoder`.
    """

    def __init__(self, vit: VitEncoder, settings: EncoderSettings) -> None:
        """vit: in float32, on the CPU. EncoderError where it cannot be converted."""
        model = cast(Any, vit.model)
        if isinstance(model, BeitModel):  # its positions are part of its blocks
            raise EncoderError("BEiT runs in torch only: leave TOUCHSTONE_RUNTIME unset")
        self.space = in_runtime(vit.space, settings)
        self.device = vit.device
        self.max_pass_cells = vit.max_pass_cells
        self._normalised = vit.normalised
        self._embeddings, self._rotations = model.embeddings, getattr(model, "rope_embeddings", None)
        self._inputs = {name: value for name, value in vit.inputs.items() if name == "interpolate_pos_encoding"}
        self._run = convert(settings, vit.space.fingerprint, lambda: self._network(vit))

    @torch.inference_mode()
    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`."""
        grid = grid_of(batch, self.space.patch)
        return join_features([self._encode_one(image[None], grid) for image in batch])

    def _encode_one(self, image: torch.Tensor, grid: tuple[int, int]) -> Features:
        """uint8 (1, 3, H, W) → its features."""
        *layers, last = self._run(self._embedded(image))
        patches = torch.stack([tokens[:, -grid[0] * grid[1] :] for tokens in layers], dim=1)
        return Features(F.normalize(last[:, 0], dim=-1), F.normalize(patches, dim=-1), grid)

    def _embedded(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """uint8 (1, 3, H, W) → what the blocks take: tokens (1, tokens, dim), a DINOv3's rotations."""
        pixels = self._normalised(image)
        tokens = self._embeddings(pixels, **self._inputs)
        return (tokens,) if self._rotations is None else (tokens, *self._rotations(pixels))

    @torch.no_grad()
    def _network(self, vit: VitEncoder) -> Network:
        width, height = self.space.global_geometry.size
        noise = torch.randint(0, 256, (1, 3, height, width), generator=torch.Generator().manual_seed(0))
        example = self._embedded(noise.to(torch.uint8))
        return Network(_Blocks(vit).eval(), example, (1,) + (0,) * (len(example) - 1))


class _Blocks(nn.Module):
    """What embeddings give → the tokens of each layer asked for, normed, and of the last: each (1, tokens, dim)."""

    def __init__(self, vit: VitEncoder) -> None:
        super().__init__()
        self._model, self._norm = vit.model, vit.norm
        self._patch, self._layers, self._inputs = vit.space.patch, vit.layers, vit.inputs

    def forward(
        self, tokens: torch.Tensor, cosines: torch.Tensor | None = None, sines: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """One pass; cosines and sines: a DINOv3's rotations."""
        unseen = torch.zeros(1, 3, self._patch, self._patch)
        model = cast(Any, self._model)
        with ExitStack() as stack:
            stack.enter_context(_giving(model.embeddings, tokens))
            if cosines is not None:
                stack.enter_context(_giving(model.rope_embeddings, (cosines, sines)))
            output = model(pixel_values=unseen, **self._inputs)
        states, last = output.hidden_states, output.last_hidden_state
        return *(last if layer == len(states) - 1 else self._norm(states[layer]) for layer in self._layers), last


@contextmanager
def _giving(module: nn.Module, value: object) -> Iterator[None]:
    """Have a module give a value, whatever it is called with."""
    module.forward = lambda *_, **__: value
    try:
        yield
    finally:
        del module.forward  # the class's own is seen again
