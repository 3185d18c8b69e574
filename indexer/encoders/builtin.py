"""The encoder that ships with the product: fixed filters, pooled and whitened, that need no trained network."""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from indexer.encoders.base import EncoderError, Features, FeatureSpace
from indexer.encoders.preprocessing import Geometry

PATCH = 16
CONSTANTS = Path(__file__).with_name("builtin.safetensors")
LAYERS = ("edges", "strokes", "shapes", "context")
_LEVELS = 5  # octaves of the pyramid; level s has pixels of 2**s
_DIRECTIONS = 8  # bins of the signed gradient direction
_RIDGES = 4  # orientations of the second derivative, bright and dark apart
_TONES = 6  # soft bins of the intensity histogram
_SOURCES = ((0, 1), (1, 2), (2, 3), (3, 4))  # levels a layer is made of
_TINY = 1e-6


class FilterBankEncoder:
    """Local statistics of derivatives, blobs, intensity and colour, in four layers from fine to coarse.

    Satisfies `Encoder`. Every layer is centred, projected and whitened with constants fitted once on procedural images
    (`python -m indexer.encoders.fit_builtin`); a constant is appended before the L2-normalisation, so that a cosine
    between patches still sees how strong a pattern is, not only which.
    EncoderError when the crop is not a multiple of 16 pixels or the constants do not fit this code.
    """

    def __init__(self, geometry: Geometry, device: torch.device, constants: Path = CONSTANTS) -> None:
        if geometry.crop % PATCH:
            raise EncoderError(f"the built-in encoder needs a crop that is a multiple of {PATCH}, not {geometry.crop}")
        if not constants.is_file():
            raise EncoderError(f"the built-in encoder's constants are missing: {constants.name}")
        self.device = device
        self._bank = FilterBank(device)
        fitted = load_file(constants)
        self._means = [fitted[f"{name}.mean"].to(device, torch.float32) for name in LAYERS]
        self._projections = [fitted[f"{name}.projection"].to(device, torch.float32) for name in LAYERS]
        self._global_mean = fitted["global.mean"].to(device, torch.float32)
        self._global_projection = fitted["global.projection"].to(device, torch.float32)
        self._constant = float(fitted["constant"])
        side = geometry.crop // PATCH
        self.space = FeatureSpace(
            encoder="touchstone-filterbank",
            layers=LAYERS,
            grid=(side, side),
            dim=self._projections[0].shape[1] + 1,
            global_dim=self._global_projection.shape[1],
            geometry=geometry,
            fingerprint=_fingerprint(constants, geometry),
        )

    @torch.inference_mode()
    def encode(self, batch: torch.Tensor) -> Features:
        """Prepared images, uint8 (B, 3, crop, crop) RGB → features on the encoder's device."""
        crop = self.space.geometry.crop
        if batch.dtype != torch.uint8 or tuple(batch.shape[1:]) != (3, crop, crop):
            raise ValueError(f"expected uint8 (B, 3, {crop}, {crop}), not {batch.dtype} {tuple(batch.shape)}")
        # One image at a time: its maps stay in a CPU's cache, and an answer does not depend on its batch.
        raw = [self._bank.describe(image[None].to(self.device)) for image in batch]
        patches = torch.cat([self._embed(layers) for layers, _ in raw])
        globals_ = torch.cat([(stats - self._global_mean) @ self._global_projection for _, stats in raw])
        return Features(F.normalize(globals_, dim=1), patches)

    def _embed(self, layers: list[torch.Tensor]) -> torch.Tensor:
        """Raw layers, each (B, cells, values) → unit patches (B, layers, cells, dim)."""
        embedded = []
        for raw, mean, projection in zip(layers, self._means, self._projections, strict=True):
            embedded.append(squash((raw - mean) @ projection, self._constant))
        return torch.stack(embedded, dim=1)


def squash(whitened: torch.Tensor, constant: float) -> torch.Tensor:
    """Whitened values (…, dim − 1) → unit vectors (…, dim); far outliers are drawn in, the length is kept visible."""
    padded = F.pad(whitened, (0, 1), value=constant * math.sqrt(whitened.shape[-1]))
    return F.normalize(padded, dim=-1)


def _fingerprint(constants: Path, geometry: Geometry) -> str:
    digest = hashlib.sha256(constants.read_bytes())
    digest.update(Path(__file__).read_bytes())
    digest.update(json.dumps([LAYERS, geometry.resize, geometry.crop, "float32"]).encode())
    return digest.hexdigest()


class FilterBank:
    """The fixed part: from pixels to raw statistics, before anything that was fitted."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @torch.inference_mode()
    def describe(self, batch: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """uint8 (B, 3, H, W), H and W multiples of 16 → raw layers, each (B, cells, values), and raw globals (B, n)."""
        levels = self._pyramid(self._opponent(batch))
        stats = [_pool(self._responses(level), number) for number, level in enumerate(levels)]
        tones = _tone_statistics(levels[1])
        layers = []
        for number, sources in enumerate(_SOURCES):
            parts = [stats[source] for source in sources] + [tones]
            maps = torch.cat(parts, dim=1)  # (B, values, rows, columns)
            for _ in range(max(0, number - 1)):
                maps = _blur(maps)
            layers.append(maps.flatten(2).transpose(1, 2))
        return layers, _layout(stats, tones)

    def _opponent(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 RGB → float32 lightness, red–green and blue–yellow (B, 3, H, W), lightness in [0, 1]."""
        red, green, blue = (batch.to(torch.float32) / 255).unbind(1)
        light = 0.299 * red + 0.587 * green + 0.114 * blue
        return torch.stack([light, red - green, 0.5 * (red + green) - blue], dim=1)

    def _pyramid(self, image: torch.Tensor) -> list[torch.Tensor]:
        levels = [image]
        for _ in range(_LEVELS - 1):
            padded = F.pad(levels[-1], (1, 1, 1, 1), mode="replicate")
            levels.append(F.conv2d(padded, self._halving, stride=2, groups=3))  # (B, 3, h / 2, w / 2)
        return levels

    def _responses(self, level: torch.Tensor) -> torch.Tensor:
        """One level (B, 3, h, w) → non-negative response maps (B, maps, h, w)."""
        light = F.conv2d(F.pad(level[:, :1], (2, 2, 2, 2), mode="replicate"), self._derivatives)
        slope, bend = light[:, :2], light[:, 2:]
        strength = slope.square().sum(1, keepdim=True).add_(_TINY).sqrt_()
        # cos² lobes times the strength: together the bins sum to twice the gradient's length.
        directions = F.conv2d(slope, self._steer_slope).clamp_min_(0).square_().div_(strength)
        ridges = F.conv2d(bend, self._steer_bend)  # (B, ridges, h, w): second derivative across each orientation
        xx, xy, yy = bend.unbind(1)
        determinant = xx * yy - xy * xy
        root = determinant.abs().add_(_TINY).sqrt_().copysign(determinant)
        gx, gy = slope.unbind(1)
        # How the edge turns (isophote curvature times gradient length): corners, ends and bites, by sign.
        turn = (gy * gy * xx - 2 * gx * gy * xy + gx * gx * yy) / (strength[:, 0].square() + 1e-3)
        signed = torch.cat([ridges, torch.stack([xx + yy, root, turn], dim=1)], dim=1)
        colour = F.conv2d(F.pad(level[:, 1:], (2, 2, 2, 2), mode="replicate"), self._colour_slope, groups=2)
        colour = colour.square().unflatten(1, (2, 2)).sum(2).sqrt()  # (B, 2, h, w)
        return torch.cat([directions, signed.clamp_min(0), (-signed).clamp_min_(0), colour], dim=1)

    @cached_property
    def _halving(self) -> torch.Tensor:
        tap = torch.tensor([1.0, 3.0, 3.0, 1.0], device=self._device) / 8
        return torch.outer(tap, tap).expand(3, 1, 4, 4).contiguous()

    @cached_property
    def _derivatives(self) -> torch.Tensor:
        """Gaussian derivatives, σ = 1: x, y, xx, xy, yy as (5, 1, 5, 5)."""
        at = torch.arange(-2.0, 3.0, device=self._device)
        bell = torch.exp(-at.square() / 2)
        bell = bell / bell.sum()
        slope = at * bell
        slope = slope / (slope * at).sum()
        bend = (at.square() - (at.square() * bell).sum()) * bell
        bend = 2 * bend / (bend * at.square()).sum()
        kernels = [
            torch.outer(bell, slope),
            torch.outer(slope, bell),
            torch.outer(bell, bend),
            torch.outer(slope, slope),
            torch.outer(bend, bell),
        ]
        return torch.stack(kernels)[:, None]

    @cached_property
    def _colour_slope(self) -> torch.Tensor:
        return self._derivatives[:2].repeat(2, 1, 1, 1)

    @cached_property
    def _steer_slope(self) -> torch.Tensor:
        angles = torch.arange(_DIRECTIONS, device=self._device) * (2 * math.pi / _DIRECTIONS)
        return torch.stack([angles.cos(), angles.sin()], dim=1)[:, :, None, None]

    @cached_property
    def _steer_bend(self) -> torch.Tensor:
        angles = torch.arange(_RIDGES, device=self._device) * (math.pi / _RIDGES)
        cos, sin = angles.cos(), angles.sin()
        return torch.stack([cos.square(), 2 * cos * sin, sin.square()], dim=1)[:, :, None, None]


def _pool(maps: torch.Tensor, level: int) -> torch.Tensor:
    """Responses of a level (B, maps, h, w) → per cell mean, spread and peak, square-rooted (B, 3 · maps, rows, columns).

    The windows are 32 pixels wide with soft shoulders, twice the cell: a mark that moves by a few pixels moves the
    statistics little, and one on a cell's border is seen by both.
    """
    fine = 1 << max(0, 2 - level)  # pixels of this level per 4 pixels of the image
    quarter = F.avg_pool2d(maps, fine) if fine > 1 else maps
    per_cell = PATCH >> max(2, level)  # of `quarter`, along one side of a cell
    mean, square = _window(quarter, per_cell), _window(quarter.square(), per_cell)
    spread = (square - mean.square()).clamp_min(0)
    pad = per_cell // 4
    peak = F.max_pool2d(quarter, per_cell + 2 * pad, per_cell, pad)
    return torch.cat([(mean + _TINY).sqrt(), (spread + _TINY * _TINY).pow(0.25), (peak + _TINY).sqrt()], dim=1)


def _window(maps: torch.Tensor, per_cell: int) -> torch.Tensor:
    """Means over a cell with soft shoulders reaching half a cell beyond it (the weights are 1, 3, 3, 1 half cells)."""
    if per_cell == 1:
        return maps
    halves = F.avg_pool2d(maps, per_cell // 2) if per_cell > 2 else maps
    padded = F.pad(halves, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 0:-2:2] + 3 * padded[..., 1:-1:2] + 3 * padded[..., 2::2][..., : halves.shape[-1] // 2]
    across = across + padded[..., 3::2]
    down = across[..., 0:-2:2, :] + 3 * across[..., 1:-1:2, :] + 3 * across[..., 2::2, :][..., : halves.shape[-2] // 2, :]
    return (down + across[..., 3::2, :]) / 64


def _blur(maps: torch.Tensor) -> torch.Tensor:
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 16


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


def _layout(stats: list[torch.Tensor], tones: torch.Tensor) -> torch.Tensor:
    """What tells products apart: the statistics' mean and spread over the image, and a 4 × 4 layout of the coarse ones."""
    maps = torch.cat([*stats, tones], dim=1)
    coarse = torch.cat([stats[2][:, :_DIRECTIONS], stats[4][:, :_DIRECTIONS], tones], dim=1)
    grid = F.adaptive_avg_pool2d(coarse, 4).flatten(1)
    return torch.cat([maps.mean((2, 3)), maps.std((2, 3), correction=0), grid], dim=1)
