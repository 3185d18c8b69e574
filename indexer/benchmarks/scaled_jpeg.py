"""`python -m indexer.benchmarks.scaled_jpeg FOLDER`: what decoding JPEGs at a fraction of their size changes."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from indexer.benchmarks.codecs import categories_of, scores
from indexer.domain.geometry import InputGeometry
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder, preprocess
from indexer.encoders.base import join_features
from indexer.imaging.decode import decode_image, read_image

T = TypeVar("T")
_NOISE = 3.0  # of 255, standard deviation per pixel and channel, as a camera at this size has it
_ROUNDED = 8  # pixels: sides are multiples


@dataclass(frozen=True)
class _Compared:
    """One photograph, decoded in full and at a fraction: its features, and milliseconds of decoding and scaling."""

    full: Features
    scaled: Features
    full_ms: float
    scaled_ms: float


def main(
    folder: Annotated[Path, typer.Argument(help="<category>/train/good, test/good and test/<defect>, as MVTec-AD's.")],
    megapixels: Annotated[list[float] | None, typer.Option(help="Sizes; repeatable (default: 1, 5 and 20).")] = None,
    quality: Annotated[int, typer.Option(help="Of the JPEGs.")] = 90,
    images: Annotated[int, typer.Option(help="References, and test images, of each category.")] = 16,
    model: Annotated[str, typer.Option(help="The encoder, as in TOUCHSTONE_ENCODER.")] = "builtin",
) -> None:
    """Print a Markdown table: milliseconds of one thread, and how far scores move, against what good parts' differ by.

    Images are enlarged to each size, get a camera's noise there, and are stored as JPEG. References are decoded in
    full, as memories had them before; for "both" they are decoded at a fraction, too.
    """
    torch.set_num_threads(1)
    encoder = load_encoder(EncoderSettings(model, device="cpu"))
    print(
        "| category | megapixels | full, ms | at a fraction, ms | good parts' scores, spread | largest change | mean "
        "| both, largest | AUROC, full | at a fraction |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for category in categories_of(folder):
        references = [reference.path for reference in category.references]
        tests = [sample.path for sample in category.samples]
        defective = category.defective
        good, bad = (np.flatnonzero(defective == kind).tolist() for kind in (False, True))
        chosen = [*_some(good, images), *_some(bad, images)]
        for size in megapixels or [1, 5, 20]:
            stored = [_compared(encoder, path, size, quality) for path in _some(references, images)]
            shown = [_compared(encoder, tests[index], size, quality) for index in chosen]
            print(_line(encoder, stored, shown, defective[chosen], f"{category.name} | {size:g}"), flush=True)


def _line(
    encoder: Encoder,
    references: Sequence[_Compared],
    tests: Sequence[_Compared],
    defective: NDArray[np.bool_],
    name: str,
) -> str:
    old = join_features([image.full for image in references])
    new = join_features([image.scaled for image in references])
    full = join_features([image.full for image in tests])
    scaled = join_features([image.scaled for image in tests])
    before = scores(encoder, old, full, old.patches).images
    now = scores(encoder, old, scaled, old.patches).images
    both = scores(encoder, new, scaled, new.patches).images
    deviation = before[~defective].std()
    every = [*references, *tests]
    full_ms, scaled_ms = (np.median([getattr(image, kind) for image in every]) for kind in ("full_ms", "scaled_ms"))
    return (
        f"| {name} | {full_ms:.0f} | {scaled_ms:.0f} | {deviation:.1e} | {np.abs(now - before).max():.1e} "
        f"| {np.abs(now - before).mean():.1e} | {np.abs(both - before).max():.1e} "
        f"| {roc_auc_score(defective, before):.4f} | {roc_auc_score(defective, now):.4f} |"
    )


def _compared(encoder: Encoder, path: Path, megapixels: float, quality: int) -> _Compared:
    geometry = encoder.space.global_geometry
    data = _enlarged(decode_image(path), megapixels, quality)
    windows, milliseconds = [], []
    for geometries in ((), (geometry,)):
        begun = time.thread_time()
        windows.append(_prepared(data, geometry, geometries))
        milliseconds.append(1000 * (time.thread_time() - begun))
    full, scaled = (encoder.encode(window[None]) for window in windows)
    return _Compared(full, scaled, milliseconds[0], milliseconds[1])


def _prepared(data: bytes, geometry: InputGeometry, geometries: Sequence[InputGeometry]) -> torch.Tensor:
    stored = read_image(data, geometries=geometries)
    return preprocess(stored.rgb(), geometry, stored.size)


def _enlarged(image: NDArray[np.uint8], megapixels: float, quality: int) -> bytes:
    """A JPEG of so many pixels of the image, with noise."""
    factor = math.sqrt(megapixels * 1e6 / (image.shape[0] * image.shape[1]))
    height, width = (_ROUNDED * round(side * factor / _ROUNDED) for side in image.shape[:2])
    large = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(0).standard_normal(large.shape, dtype=np.float32)
    file = io.BytesIO()
    Image.fromarray(np.clip(large + _NOISE * noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _some(items: Sequence[T], count: int) -> list[T]:
    """So many of them, spread evenly."""
    return [items[index] for index in np.unique(np.linspace(0, len(items) - 1, count).astype(int))]


if __name__ == "__main__":
    typer.run(main)
