"""`python -m indexer.benchmarks.covers FOLDER`: how many stored patches could be dropped, and what it would cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
import typer

from indexer.benchmarks.codecs import EncodedCategory, categories_of, change, encode_category, figures_of, scores
from indexer.encoders import Encoder, EncoderSettings, load_encoder

_COLUMNS = (
    *("category", "references", "ε", "dropped", "by layer", "bound", "largest rise of a score", "mean, good"),
    *("mean, defective", "image AUROC", "pixel AP"),
)


def main(
    folder: Annotated[Path, typer.Argument(help="<category>/train/good, test/good and test/<defect>, as MVTec-AD's.")],
    epsilon: Annotated[
        list[float] | None, typer.Option(help="Cosine distance from a dropped patch to a stored one; repeatable.")
    ] = None,
    crop: Annotated[int, typer.Option(help="Side in pixels of what is inspected; the resize is 8/7 of it.")] = 448,
    model: Annotated[str, typer.Option(help="The encoder, as in TOUCHSTONE_ENCODER.")] = "builtin",
) -> None:
    """Print a Markdown table: what each category loses where every dropped patch has a stored one within ε in its cell.

    Patches at a cosine distance of ε lie √(2 ε) apart, and no score rises by more (lemma 4.1): the bound. Figures are
    those with all patches, then their change.
    """
    encoder = load_encoder(EncoderSettings(model, resize=crop * 8 // 7, crop=crop, device="cpu"))
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
    for category in categories_of(folder):
        encoded = encode_category(encoder, category)
        for distance in epsilon or (0.01, 0.02, 0.05, 0.1):
            print(f"| {' | '.join(_row(encoder, encoded, distance))} |", flush=True)


def _row(encoder: Encoder, encoded: EncodedCategory, distance: float) -> list[str]:
    patches = encoded.references.patches
    stands_for = covers(patches, distance)
    own = torch.arange(len(patches))[:, None, None]
    dropped = (stands_for != own).float().mean(dim=(0, 2))  # (layers,)
    stored = torch.gather(patches, 0, stands_for[..., None].expand_as(patches))
    compared = scores(encoder, encoded.references, encoded.samples, stored)
    rises = compared.images - encoded.exact.images
    defective = encoded.category.defective
    before, after = figures_of([encoded], [encoded.exact]), figures_of([encoded], [compared])
    return [
        encoded.category.name,
        str(len(patches)),
        f"{distance:g}",
        f"{dropped.mean():.1%}",
        " / ".join(f"{share:.0%}" for share in dropped.tolist()),
        f"{math.sqrt(2 * distance):.3f}",
        *(f"{value:.4f}" for value in (rises.max(), rises[~defective].mean(), rises[defective].mean())),
        _figure(before.image_auroc, after.image_auroc),
        _figure(before.pixel_ap, after.pixel_ap),
    ]


def _figure(before: float | None, after: float | None) -> str:
    return "–" if before is None else f"{before:.4f} {change(after, before)}"


def covers(patches: torch.Tensor, distance: float) -> torch.Tensor:
    """The reference whose patch stands for each patch in its cell: int64 (n, layers, cells), itself where it is stored.

    patches: float32 (n, layers, cells, dim), L2-normalised. Greedy (Gonzalez's k-centre): the first reference is
    stored, then always the one that is farthest from those stored, until none is farther than `distance` = 1 − cosine.
    """
    vectors = patches.permute(1, 2, 0, 3)  # (layers, cells, n, dim)
    nearest = torch.zeros(vectors.shape[:3], dtype=torch.int64)
    similarity = torch.einsum("lcnd,lcd->lcn", vectors, vectors[:, :, 0])
    for _ in range(1, len(patches)):
        lowest, farthest = similarity.min(dim=-1)  # (layers, cells)
        uncovered = lowest < 1 - distance
        if not uncovered.any():
            break
        centre = torch.gather(vectors, 2, farthest[..., None, None].expand(*farthest.shape, 1, vectors.shape[-1]))
        to_centre = (vectors @ centre.transpose(-1, -2))[..., 0]  # (layers, cells, n)
        closer = uncovered[..., None] & (to_centre > similarity)
        similarity = torch.where(closer, to_centre, similarity)
        nearest = torch.where(closer, farthest[..., None], nearest)
    return nearest.permute(2, 0, 1).contiguous()


if __name__ == "__main__":
    typer.run(main)
