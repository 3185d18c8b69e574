"""The encoder that ships with the product: fixed filters and a network trained on photographs, a layer of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from indexer.domain.errors import EncoderError
from indexer.domain.geometry import InputGeometry
from indexer.encoders.base import (
    MAX_PASS_CELLS,
    EncoderSettings,
    Features,
    FeatureSpace,
    checked_geometry,
    grid_of,
    in_passes,
    join_features,
)
from indexer.encoders.builtin.network import WIDTH, Blocks, BlocksOfOne, VisionTransformer
from indexer.encoders.filterbank.encoder import CONSTANTS, PATCH, FilterLayers, fingerprint
from indexer.encoders.runtimes import convert, in_runtime
from indexer.encoders.runtimes.conversion import Network

WEIGHTS = Path(__file__).with_name("weights.safetensors")
LAYERS = ("filters", "network")
LAYER_VALUES = 64  # of either layer: all of one width, so that a memory is one table
_REVISION = 1  # of the arithmetic below: raise it when features change, so that older memories are refused
_EXAMPLE_TOKENS = 401  # 20 × 20 and CLS
_FILTERS = ("edges", "strokes")  # two layers of 32 values of the filter bank, side by side


@dataclass(frozen=True)
class Variant:
    """How the network is run. blocks: so many of its blocks. share: tokens along a side, as a share of the grid's."""

    blocks: int
    share: Fraction

    def tokens(self, grid: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the network's tokens for a grid of cells."""
        rows, columns = (max(1, round(side * self.share)) for side in grid)
        return rows, columns


VARIANTS: Mapping[str, Variant] = {"builtin": Variant(6, Fraction(5, 7)), "builtin-fine": Variant(8, Fraction(1))}


class BuiltinEncoder:
    """A layer of fixed filters and a layer of a ViT-S/14, both of 64 values a patch.

    Satisfies `Encoder`. The filters (`FilterLayers`) see fine marks and what no photograph shows, such as binary images
    of boards; the network, DINOv2's and trained on photographs, sees what is odd about an object. The network's tokens
    are brought to their leading 64 directions and to the grid of 16-pixel patches by bilinear interpolation.
    The global descriptor joins the filters' with the network's CLS token. Another runtime than torch carries out the
    network's blocks; the filters stay torch's, in float32.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        geometry: InputGeometry,
        device: torch.device,
        weights: Path = WEIGHTS,
    ) -> None:
        """settings: model is one of `VARIANTS`. geometry: the global one. EncoderError when it is not made of cells of
        16 pixels, or weights are missing.
        """
        if not weights.is_file():
            raise EncoderError(f"the built-in encoder's weights are missing: {weights.name}")
        name = settings.model
        variant = VARIANTS[name]
        stored = load_file(weights)
        self.device = device
        self.max_pass_cells = MAX_PASS_CELLS
        self._filters = FilterLayers(_FILTERS, device)
        self._directions = stored[f"directions.{name}"].to(device)  # (384, 64)
        self._variant = variant
        space = FeatureSpace(
            encoder=f"touchstone-{name}",
            layers=LAYERS,
            patch=PATCH,
            dim=LAYER_VALUES,
            global_dim=self._filters.global_dim + WIDTH,
            global_geometry=checked_geometry(geometry, PATCH),
            fingerprint=_fingerprint(weights, name, geometry),
        )
        self.space = in_runtime(space, settings)
        blocks = _blocks(stored, variant.blocks, settings, space.fingerprint, device)
        self._network = VisionTransformer(stored, blocks, device)

    @torch.inference_mode()
    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`."""
        grid = grid_of(batch, PATCH)
        return join_features([self._encode_pass(images, grid) for images in in_passes(batch, self.device)])

    def _encode_pass(self, images: torch.Tensor, grid: tuple[int, int]) -> Features:
        """uint8 (B, 3, H, W) → their features."""
        filtered = self._filters.describe(images)
        shape = self._variant.tokens(grid)
        tokens = self._network(images, shape)
        network_layer = (tokens.patches @ self._directions).mT.reshape(-1, LAYER_VALUES, *shape)
        if shape != grid:
            network_layer = F.interpolate(network_layer, size=grid, mode="bilinear", align_corners=False)
        network = F.normalize(network_layer.flatten(2).transpose(1, 2), dim=-1)  # (B, cells, 64)
        filters = F.normalize(torch.cat(filtered.patches, dim=-1), dim=-1)
        descriptor = torch.cat([filtered.descriptor, F.normalize(tokens.cls, dim=1)], dim=1)
        return Features(F.normalize(descriptor, dim=1), torch.stack([filters, network], dim=1), grid)


def _blocks(
    stored: Mapping[str, torch.Tensor], count: int, settings: EncoderSettings, fingerprint: str, device: torch.device
) -> Callable[[torch.Tensor], torch.Tensor]:
    if settings.runtime == "torch":
        return Blocks(stored, count).to(device)
    example = torch.randn(_EXAMPLE_TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))
    run = convert(settings, fingerprint, lambda: Network(BlocksOfOne(Blocks(stored, count)), (example,), (0,)))
    return lambda states: torch.stack([run([tokens])[0] for tokens in states])


def _fingerprint(weights: Path, name: str, geometry: InputGeometry) -> str:
    digest = hashlib.sha256(weights.read_bytes())
    variant = VARIANTS[name]
    digest.update(
        json.dumps([_REVISION, variant.blocks, str(variant.share), fingerprint(CONSTANTS, geometry)]).encode()
    )
    return digest.hexdigest()
