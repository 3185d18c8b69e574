"""Fixed filters, pooled and whitened, that need no trained network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from indexer.domain.errors import EncoderError
from indexer.domain.geometry import InputGeometry
from indexer.encoders.base import (
    MAX_PASS_CELLS,
    Features,
    FeatureSpace,
    checked_geometry,
    geometry_facts,
    grid_of,
    in_passes,
    join_features,
)

PATCH = 16
_REVISION = 2  # of the arithmetic below: raise it when features change, so that older memories are refused
CONSTANTS = Path(__file__).with_name("constants.safetensors")
LAYERS = ("edges", "strokes", "edges-strokes", "edges-strokes-shapes")
_SLOPES = 4  # axes of the gradient; with both signs, eight directions
_SIGNED = 11  # response maps with a sign: slopes, second derivatives, Laplacian, determinant, turn
_TONES = 6  # soft bins of the intensity histogram
_SOURCES = ((0,), (1,), (0, 1), (0, 1, 2))  # octaves a layer is made of; octave s has pixels of 2**s
_TURNING = (True, True, False, False)  # layers that see how strong orientations are, not which they are
_TINY = 1e-6


class FilterBankEncoder:
    """Local statistics of derivatives, blobs, intensity and colour, in four layers from fine to coarse.

    Satisfies `Encoder`. Every layer is centred, projected and whitened with constants fitted once on procedural images
    (`python -m indexer.encoders.filterbank.fit`); a constant is appended before the L2-normalisation, so that a cosine
    between patches still sees how strong a pattern is, not only which.
    EncoderError when the global geometry is not made of cells of 16 pixels or the constants do not fit this code.
    """

    def __init__(self, geometry: InputGeometry, device: torch.device, constants: Path = CONSTANTS) -> None:
        self.device = device
        self.max_pass_cells = MAX_PASS_CELLS
        self._layers = FilterLayers(LAYERS, device, constants)
        self.space = FeatureSpace(
            encoder="touchstone-filterbank",
            layers=LAYERS,
            patch=PATCH,
            dim=self._layers.dim,
            global_dim=self._layers.global_dim,
            global_geometry=checked_geometry(geometry, PATCH),
            fingerprint=fingerprint(constants, geometry),
        )

    @torch.inference_mode()
    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`."""
        grid = grid_of(batch, PATCH)
        return join_features([self._encode_pass(images, grid) for images in in_passes(batch, self.device)])

    def _encode_pass(self, images: torch.Tensor, grid: tuple[int, int]) -> Features:
        """uint8 (B, 3, H, W) → their features."""
        layers = self._layers.describe(images)
        return Features(layers.descriptor, torch.stack(layers.patches, dim=1), grid)


@dataclass(frozen=True)
class Filtered:
    """B images through filters. patches: a tensor for each layer, float32 (B, cells, dim), of unit length.

    descriptor: float32 (B, global_dim), of unit length.
    """

    patches: list[torch.Tensor]
    descriptor: torch.Tensor


class FilterLayers:
    """Some layers of the filter bank, whitened with the constants that were fitted for them."""

    def __init__(self, layers: Sequence[str], device: torch.device, constants: Path = CONSTANTS) -> None:
        """layers: some of `LAYERS`. EncoderError when the constants are missing."""
        if not constants.is_file():
            raise EncoderError(f"the filter bank's constants are missing: {constants.name}")
        fitted = load_file(constants)
        self._bank = FilterBank(device, [LAYERS.index(name) for name in layers])
        self._means = [fitted[f"{name}.mean"].to(device, torch.float32) for name in layers]
        self._projections = [fitted[f"{name}.projection"].to(device, torch.float32) for name in layers]
        self._constant = float(fitted["constant"])
        self.dim = self._projections[0].shape[1] + 1  # of a layer's patches
        self.global_dim = 2 * sum(projection.shape[1] for projection in self._projections)

    @torch.inference_mode()
    def describe(self, images: torch.Tensor) -> Filtered:
        """uint8 (B, 3, H, W) RGB on the layers' device, H and W multiples of 16 → unit vectors."""
        layers = zip(self._bank.describe(images), self._means, self._projections, strict=True)
        whitened = [(raw - mean) @ projection for raw, mean, projection in layers]  # each (B, cells, dim − 1)
        # What a product is like as a whole: where its patches lie on average, and how widely they are spread against
        # the drawn images, whose spread is about 1.
        average = [values.mean(1) for values in whitened]
        spread = [values.std(1, correction=0) - 1 for values in whitened]
        return Filtered(
            [_with_length(values, self._constant) for values in whitened],
            F.normalize(torch.cat(average + spread, dim=1), dim=1),
        )


def _with_length(whitened: torch.Tensor, constant: float) -> torch.Tensor:
    """Whitened values (…, dim − 1) → unit vectors (…, dim): a constant is appended, so that length stays visible."""
    padded = F.pad(whitened, (0, 1), value=constant * math.sqrt(whitened.shape[-1]))
    return F.normalize(padded, dim=-1)


def fingerprint(constants: Path, geometry: InputGeometry) -> str:
    """Equal where the filter bank's features are: sha256 over constants, the arithmetic's revision, geometry."""
    digest = hashlib.sha256(constants.read_bytes())
    digest.update(json.dumps([_REVISION, LAYERS, *geometry_facts(geometry), "float32"]).encode())
    return digest.hexdigest()


class FilterBank:
    """The fixed part: from pixels to raw statistics, before anything that was fitted."""

    def __init__(self, device: torch.device, layers: Sequence[int] = tuple(range(len(LAYERS)))) -> None:
        """layers: which are computed, numbers into `LAYERS`."""
        self._device = device
        self._layers = tuple(layers)
        self._levels = 1 + max(1, *(source for layer in layers for source in _SOURCES[layer]))  # tones need the second

    @torch.inference_mode()
    def describe(self, batch: torch.Tensor) -> list[torch.Tensor]:
        """uint8 (B, 3, H, W), H and W multiples of 16 → the raw layers, each (B, cells, values)."""
        levels = self._pyramid(self._opponent(batch))
        stats = []
        for index, level in enumerate(levels):
            fine = 1 << max(0, 2 - index)  # pixels of this level per 4 pixels of the image
            stats.append(_pool(self._responses(level, fine), index))
        tones = _tone_statistics(levels[1])
        turned = [(_over_orientations(stat) + _TINY).sqrt_() for stat in stats]
        straight = [(stat + _TINY).sqrt_() for stat in stats]
        layers = []
        for layer in self._layers:
            chosen = turned if _TURNING[layer] else straight
            maps = torch.cat(
                [*(chosen[source] for source in _SOURCES[layer]), tones], dim=1
            )  # (B, values, rows, columns)
            layers.append(maps.flatten(2).transpose(1, 2))
        return layers

    def _opponent(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 RGB → float32 lightness, red–green and blue–yellow (B, 3, H, W), lightness in [0, 1]."""
        red, green, blue = (batch.to(torch.float32) / 255).unbind(1)
        light = 0.299 * red + 0.587 * green + 0.114 * blue
        return torch.stack([light, red - green, 0.5 * (red + green) - blue], dim=1)

    def _pyramid(self, image: torch.Tensor) -> list[torch.Tensor]:
        levels = [image]
        for _ in range(self._levels - 1):
            padded = F.pad(levels[-1], (1, 1, 1, 1), mode="replicate")
            levels.append(F.conv2d(padded, self._halving, stride=2))  # (B, 3, h / 2, w / 2)
        return levels

    def _responses(self, level: torch.Tensor, fine: int) -> torch.Tensor:
        """One level (B, 3, h, w) → non-negative responses (B, maps, h / fine, w / fine), averaged over fine × fine."""
        gx, gy, xx, xy, yy, *colour_slopes = F.conv2d(
            F.pad(level, (2, 2, 2, 2), mode="replicate"), self._derivatives
        ).unbind(1)
        square = gx * gx + gy * gy + _TINY
        half = (xx + yy) / 2
        determinant = xx * yy - xy * xy
        signed = torch.empty(len(level), _SIGNED, *level.shape[2:], device=level.device)
        slopes = signed[:, :_SLOPES]  # the gradient along 0°, 45°, 90°, 135°: with both signs, eight directions
        slopes[:, 0], slopes[:, 2] = gx, gy
        slopes[:, 1], slopes[:, 3] = (gx + gy) * math.sqrt(0.5), (gy - gx) * math.sqrt(0.5)
        slopes.mul_(slopes.abs()).div_(square.sqrt()[:, None])  # cos² lobes times the gradient's length
        signed[:, 4], signed[:, 6] = xx, yy  # the second derivative across the same four orientations
        torch.add(half, xy, out=signed[:, 5])
        torch.sub(half, xy, out=signed[:, 7])
        signed[:, 8] = xx + yy
        signed[:, 9] = (determinant.abs() + _TINY).sqrt().copysign(determinant)
        # How the edge turns (isophote curvature times gradient length): corners, ends and bites, by sign.
        signed[:, 10] = (gy * gy * xx - 2 * gx * gy * xy + gx * gx * yy) / (square + 1e-3)
        across_1, down_1, across_2, down_2 = (slope.square_() for slope in colour_slopes)
        colour = torch.stack([across_1.add_(down_1), across_2.add_(down_2)], dim=1).sqrt_()  # (B, 2, h, w)
        signed = signed.contiguous(memory_format=torch.channels_last)  # averages three times faster, to the same values
        net = _average(signed, fine)
        bright = _average(signed.clamp_min_(0), fine)
        return torch.cat([bright, (bright - net).clamp_min_(0), _average(colour, fine)], dim=1)

    @cached_property
    def _halving(self) -> torch.Tensor:
        tap = torch.tensor([1.0, 3.0, 3.0, 1.0], device=self._device) / 8
        return torch.outer(tap, tap) * torch.eye(3, device=self._device)[:, :, None, None]

    @cached_property
    def _derivatives(self) -> torch.Tensor:
        """Gaussian derivatives, σ = 1, as (9, 3, 5, 5): x, y, xx, xy, yy of lightness; x, y of either colour.

        One product of all three channels, zeros and all, takes half the time of one for each.
        """
        at = torch.arange(-2.0, 3.0, device=self._device)
        bell = torch.exp(-at.square() / 2)
        bell = bell / bell.sum()
        slope = at * bell
        slope = slope / (slope * at).sum()
        bend = (at.square() - (at.square() * bell).sum()) * bell
        bend = 2 * bend / (bend * at.square()).sum()
        slopes = torch.stack([torch.outer(bell, slope), torch.outer(slope, bell)])
        bends = torch.stack([torch.outer(bell, bend), torch.outer(slope, slope), torch.outer(bend, bell)])
        kernels = torch.zeros(9, 3, 5, 5, device=self._device)
        kernels[:2, 0], kernels[2:5, 0] = slopes, bends
        kernels[5:7, 1], kernels[7:, 2] = slopes, slopes
        return kernels


def _average(maps: torch.Tensor, side: int) -> torch.Tensor:
    return F.avg_pool2d(maps, side) if side > 1 else maps.clone()


def _pool(quarter: torch.Tensor, level: int) -> torch.Tensor:
    """Responses of a level → per cell mean, spread and peak (B, 3 · maps, rows, columns).

    The windows are 32 pixels wide with soft shoulders, twice the cell: a mark that moves by a few pixels moves the
    statistics little, and one on a cell's border is seen by both.
    """
    per_cell = PATCH >> max(2, level)  # of the responses, along one side of a cell
    quarter = quarter.contiguous(memory_format=torch.channels_last)  # pools several times faster, to the same values
    mean, square = _window(quarter, per_cell), _window(quarter.square(), per_cell)
    spread = (square - mean.square()).clamp_min(0)
    pad = per_cell // 4
    peak = F.max_pool2d(quarter, per_cell + 2 * pad, per_cell, pad)
    return torch.cat([mean, spread.sqrt_(), peak], dim=1)


def _over_orientations(stats: torch.Tensor) -> torch.Tensor:
    """Statistics of a level (B, 3 · maps, …) → the same with orientations summarised (B, 3 · fewer, …).

    A part that lies turned has the same mean, largest, smallest and spread over the eight directions of the gradient,
    and over the four of a bright or a dark second derivative, as one that lies straight.
    """
    maps = stats.reshape(len(stats), 3, -1, *stats.shape[2:])  # mean, spread and peak of every response
    bright, dark, colour = maps[:, :, :_SIGNED], maps[:, :, _SIGNED : 2 * _SIGNED], maps[:, :, 2 * _SIGNED :]
    slopes = torch.cat([bright[:, :, :_SLOPES], dark[:, :, :_SLOPES]], dim=2)
    bends = [side[:, :, _SLOPES : 2 * _SLOPES] for side in (bright, dark)]
    summaries = []
    for family in (slopes, *bends):
        mean = family.mean(2)
        spread = (family - mean[:, :, None]).square_().mean(2).sqrt_()  # `std` takes eighteen times as long
        summaries.append(torch.stack([mean, family.amax(2), family.amin(2), spread], dim=2))
    remaining = [side[:, :, 2 * _SLOPES :] for side in (bright, dark)]
    return torch.cat([*summaries, *remaining, colour], dim=2).flatten(1, 2)


def _window(maps: torch.Tensor, per_cell: int) -> torch.Tensor:
    """Means over a cell with soft shoulders reaching half a cell beyond it (the weights are 1, 3, 3, 1 half cells)."""
    if per_cell == 1:
        return maps
    halves = F.avg_pool2d(maps, per_cell // 2) if per_cell > 2 else maps
    padded = F.pad(halves, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 0:-2:2] + padded[..., 3::2] + 3 * (padded[..., 1:-1:2] + padded[..., 2::2])
    down = across[..., 0:-2:2, :] + across[..., 3::2, :] + 3 * (across[..., 1:-1:2, :] + across[..., 2::2, :])
    return down / 64


def _tone_statistics(level: torch.Tensor) -> torch.Tensor:
    """Half-size image (B, 3, h, w) → per cell what its intensities and colours are (B, values, rows, columns)."""
    light = level[:, :1]
    centres = torch.linspace(0, 1, _TONES, device=level.device)[None, :, None, None]
    occupancy = (1 - (light - centres).abs() * (_TONES - 1)).clamp_min(0)
    per_cell = PATCH // 2
    mean = _window(level, per_cell)
    spread = (_window(level.square(), per_cell) - mean.square()).clamp_min(0).sqrt()
    high = F.max_pool2d(light, per_cell)
    low = -F.max_pool2d(-light, per_cell)
    return torch.cat([mean, spread, high, low, (_window(occupancy, per_cell) + 1e-3).sqrt()], dim=1)
