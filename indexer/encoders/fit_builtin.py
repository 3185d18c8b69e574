"""Fits the built-in encoder's constants on procedural pictures and writes `builtin.safetensors`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from safetensors.torch import save_file

from indexer.encoders import choose_device
from indexer.encoders.builtin import CONSTANTS, LAYERS, FilterBank
from indexer.encoders.procedural import photograph, scene

PATCH_VALUES = 63  # per layer; one more holds the constant
CONSTANT = 0.5
_SIDE, _CROP, _SHIFT = 512, 448, 5.0  # pixels
_TOTAL_SHARE = 0.3  # how much of all variation joins the nuisance that is whitened away
_FLOOR = 0.05  # shrinkage: added to every eigenvalue, as a share of their mean


@dataclass
class Moments:
    """Sums over pairs of feature vectors of the same place in two photographs; float64 on the CPU."""

    count: int = 0
    total: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    outer: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    nuisance: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    def add(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """Take in pairs, each (n, values)."""
        first, second = first.to("cpu", torch.float64), second.to("cpu", torch.float64)
        self.count += len(first)
        self.total = self.total + first.sum(0)
        self.outer = self.outer + first.T @ first
        self.nuisance = self.nuisance + (first - second).T @ (first - second) / 2

    def projection(self, values: int, total_share: float, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean (n,) and projection (n, values), float32.

        Variation between photographs of one place is nuisance: it is whitened, with shrinkage, and of what is left the
        directions in which places differ most are kept. The kept values have mean variance 1.
        """
        mean = self.total / self.count
        spread = self.outer / self.count - torch.outer(mean, mean)
        scale = spread.diag().clamp_min(1e-12).sqrt()
        spread = spread / torch.outer(scale, scale)
        nuisance = self.nuisance / self.count / torch.outer(scale, scale)
        noise = (1 - total_share) * nuisance * (spread.trace() / nuisance.trace()) + total_share * spread
        strengths, axes = torch.linalg.eigh(noise)
        whiten = axes * (strengths.clamp_min(0) + floor * strengths.mean()).rsqrt() @ axes.T
        strengths, axes = torch.linalg.eigh(whiten @ spread @ whiten)
        strengths, axes = strengths[-values:].flip(0), axes[:, -values:].flip(1)
        axes = axes * axes.sum(0).sign()  # an eigenvector's sign is arbitrary: make it reproducible
        projection = whiten @ axes / strengths.mean().sqrt()
        return mean.float(), (projection / scale[:, None]).float().contiguous()


def fit(scenes: int, seed: int, device: torch.device) -> dict[str, torch.Tensor]:
    """All constants by name, from `scenes` procedural scenes photographed twice each."""
    bank = FilterBank(device)
    patches = [Moments() for _ in LAYERS]
    for number in track(range(scenes), "photographing procedural scenes"):
        rng = np.random.default_rng([seed, number])
        picture = scene(rng, _SIDE)
        views = [torch.from_numpy(photograph(rng, picture, _CROP, _SHIFT)).permute(2, 0, 1)[None] for _ in range(2)]
        first, second = (bank.describe(view.to(device)) for view in views)
        for moments, one, other in zip(patches, first, second, strict=True):
            moments.add(one[0], other[0])
    constants = {"constant": torch.tensor(CONSTANT)}
    for name, moments in zip(LAYERS, patches, strict=True):
        mean, projection = moments.projection(PATCH_VALUES, _TOTAL_SHARE, _FLOOR)
        constants[f"{name}.mean"], constants[f"{name}.projection"] = mean, projection
    if not all(math.isfinite(float(values.abs().max())) for values in constants.values()):
        raise ArithmeticError("the fit did not give finite constants: use more scenes")
    return constants


def main(
    out: Annotated[Path, typer.Option(help="The file to write.")] = CONSTANTS,
    scenes: Annotated[int, typer.Option(min=32, help="Procedural scenes; each is photographed twice.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same library versions: same constants.")] = 7,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Fit the built-in encoder's constants; 600 scenes take about three minutes on one core."""
    save_file(fit(scenes, seed, choose_device(device)), out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
