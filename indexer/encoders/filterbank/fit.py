"""Fits the filter bank's constants on drawn images and writes `constants.safetensors`."""

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
from indexer.encoders.filterbank.encoder import CONSTANTS, LAYERS, FilterBank
from indexer.encoders.filterbank.synthetic_images import photograph, scene

PATCH_VALUES = 31  # per layer; one more holds the constant
CONSTANT = 0.5
_SIDE, _CROP, _SHIFT = 512, 448, 5.0  # pixels
_TOTAL_SHARE = 0.3  # how much of all variation joins the nuisance that is whitened away
_EVERY = 50  # scenes between two checkpoints
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


def fit(scenes: int, seed: int, device: torch.device, checkpoint: Path | None = None) -> dict[str, torch.Tensor]:
    """All constants by name, from `scenes` procedural scenes photographed twice each.

    checkpoint: a file that holds the sums so far; a fit of the same seed that was stopped goes on from there, and ends
    with the constants that it would have found in one go. It is removed at the end. ValueError for another seed's.
    """
    bank = FilterBank(device)
    patches, done = _resumed(checkpoint, seed, scenes)
    for index in track(range(done, scenes), "photographing procedural scenes", total=scenes, completed=done):
        rng = np.random.default_rng([seed, index])
        image = scene(rng, _SIDE)
        views = [torch.from_numpy(photograph(rng, image, _CROP, _SHIFT)).permute(2, 0, 1)[None] for _ in range(2)]
        first, second = (bank.describe(view.to(device)) for view in views)
        for moments, one, other in zip(patches, first, second, strict=True):
            moments.add(one[0], other[0])
        if checkpoint is not None and (index + 1) % _EVERY == 0:
            _keep(checkpoint, patches, seed, index + 1)
    constants = {"constant": torch.tensor(CONSTANT)}
    for name, moments in zip(LAYERS, patches, strict=True):
        mean, projection = moments.projection(PATCH_VALUES, _TOTAL_SHARE, _FLOOR)
        constants[f"{name}.mean"], constants[f"{name}.projection"] = mean, projection
    if not all(math.isfinite(float(values.abs().max())) for values in constants.values()):
        raise ArithmeticError("the fit did not give finite constants: use more scenes")
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return constants


def _keep(checkpoint: Path, patches: list[Moments], seed: int, done: int) -> None:
    """Write the sums so far, whole or not at all."""
    temporary = checkpoint.with_suffix(".tmp")
    torch.save({"seed": seed, "done": done, "moments": [vars(moments) for moments in patches]}, temporary)
    temporary.replace(checkpoint)


def _resumed(checkpoint: Path | None, seed: int, scenes: int) -> tuple[list[Moments], int]:
    """The sums and the number of scenes of a checkpoint; empty without one."""
    if checkpoint is None or not checkpoint.is_file():
        return [Moments() for _ in LAYERS], 0
    stored = torch.load(checkpoint, weights_only=True)
    if stored["seed"] != seed or stored["done"] > scenes:
        raise ValueError(
            f"{checkpoint} is of seed {stored['seed']} and {stored['done']} scenes: remove it to start anew"
        )
    return [Moments(**sums) for sums in stored["moments"]], stored["done"]


def main(
    out: Annotated[Path, typer.Option(help="The file to write.")] = CONSTANTS,
    scenes: Annotated[int, typer.Option(min=32, help="Procedural scenes; each is photographed twice.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same library versions: same constants.")] = 7,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Fit the filter bank's constants; 600 scenes take about three minutes on one core.

    An interrupted fit continues from a checkpoint beside the output file.
    """
    try:
        constants = fit(scenes, seed, choose_device(device), out.with_suffix(".checkpoint"))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    save_file(constants, out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
