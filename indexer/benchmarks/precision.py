"""`python -m indexer.benchmarks.precision FOLDER`: what half precision and the device's resize change in scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from indexer.benchmarks.codecs import categories_of, image_auroc, scores
from indexer.benchmarks.cpu.plan import Vit
from indexer.benchmarks.cpu.subjects import vit_model
from indexer.encoders import Encoder, EncoderSettings, Features, InputGeometry, PreparedImage, load_encoder, prepare
from indexer.encoders.base import Dtype, join_features
from indexer.encoders.device_preprocessing import DevicePreprocessor
from indexer.encoders.vit import VitEncoder
from indexer.imaging.decode import decode_image

_VIT = Vit("ViT-S", 384, 6, 12)
_CPU = torch.device("cpu")
Preprocess = Callable[[NDArray[np.uint8]], PreparedImage]


def main(
    folder: Annotated[Path, typer.Argument(help="<category>/train/good, test/good and test/<defect>, as MVTec-AD's.")],
    crop: Annotated[int, typer.Option(help="Side in pixels of what is inspected; the resize is 8/7 of it.")] = 224,
) -> None:
    """Print a Markdown table of score changes against float32 and Pillow, per encoder, all on the CPU.

    The transformer has random weights (a DINOv3 ViT-S, seed 0): rounding behaves as in a trained one, verdicts do not.
    """
    geometry = InputGeometry.paper(crop * 8 // 7, crop)
    pillow: Preprocess = partial(prepare, geometry=geometry, global_geometry=geometry)
    builtin = load_encoder(EncoderSettings(resize=geometry.resized[0], crop=crop, device="cpu"))
    subjects: dict[str, tuple[Encoder, Preprocess]] = {
        "built-in": (builtin, pillow),
        "built-in, prepared by the device's resize": (
            builtin,
            partial(DevicePreprocessor(_CPU, geometry), geometry=geometry),
        ),
        "random ViT-S": (_vit(geometry, "float32"), pillow),
        "random ViT-S, bfloat16": (_vit(geometry, "bfloat16"), pillow),
        "random ViT-S, prepared by the device's resize": (
            _vit(geometry, "float32"),
            partial(DevicePreprocessor(_CPU, geometry), geometry=geometry),
        ),
    }
    categories = categories_of(folder)
    print("| encoder | scores | largest change | mean | image AUROC |\n|---|---|---|---|---|")
    base: NDArray[np.float64] = np.zeros(0)
    for name, (encoder, prepared) in subjects.items():
        scored = []
        for category in categories:
            references, samples = (
                _features(encoder, prepared, [image.path for image in images])
                for images in (category.references, category.samples)
            )
            scored.append(scores(encoder, references, samples, references.patches))
        images = np.concatenate([category_scores.images for category_scores in scored])
        if "," not in name:
            base = images
        change = np.abs(images - base)
        quality = image_auroc(categories, scored)
        span = f"{images.min():.3f} … {images.max():.3f}"
        print(f"| {name} | {span} | {change.max():.1e} | {change.mean():.1e} | {quality:.4f} |", flush=True)


def _vit(geometry: InputGeometry, dtype: Dtype) -> Encoder:
    torch.manual_seed(0)
    settings = EncoderSettings(_VIT.name, resize=geometry.resized[0], crop=geometry.size[0], device="cpu", dtype=dtype)
    return VitEncoder(vit_model(_VIT, geometry.size[0]), settings, geometry, _CPU)


def _features(encoder: Encoder, prepared: Preprocess, paths: list[Path]) -> Features:
    features = [encoder.encode(prepared(decode_image(path)).window[None]) for path in paths]
    return join_features(features)


if __name__ == "__main__":
    typer.run(main)
