"""Contact sheets: clearest detections, worst errors and closest decisions, with the nearest reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from indexer.evaluation.dataset import Sample
from indexer.evaluation.encoding import load_image
from indexer.evaluation.masks import read_mask
from indexer.evaluation.plots import title_of
from indexer.evaluation.run import Outcome, Subject, detect_samples
from indexer.text import readable

_EACH = 3  # images of each kind
_HEADS = ("image", "nearest reference", "anomaly map", "mask")


def draw_sheet(subject: Subject, outcome: Outcome, category: str, threshold: float | None, path: Path) -> None:
    """Draw one category: the defects found most clearly, the gravest mistakes, the closest calls.

    threshold: what a good part may score; None takes the level with the largest F1. A mistake's gravity is its
    distance to that level on the wrong side; where nothing went wrong, the nearest to it are shown.
    """
    samples = [sample for sample in subject.dataset.samples if sample.category == category]
    scores = np.array(outcome.categories[category].scores)
    level = best_threshold(samples, scores) if threshold is None else threshold
    chosen = choose(samples, scores, level)
    rows = [(title, index) for title, indices in chosen for index in indices]
    shown = [samples[index] for _, index in rows]
    features = subject.encoding.features([subject.images_of(shown)])
    judged = [detection for (detection,) in detect_samples(subject, [outcome.variant.search], shown, features)]
    hottest = max(float(detection.map.max()) for detection in judged)

    figure = Figure(figsize=(9, 0.4 + 2.35 * len(rows)), layout="constrained")
    figure.suptitle(f"{category}: {title_of(outcome)}", fontsize=9)
    grid = figure.subplots(len(rows), len(_HEADS), squeeze=False)
    for axes, head in zip(grid[0], _HEADS, strict=True):
        axes.set_title(head, fontsize=9)
    for line, (title, _), sample, detection in zip(grid, rows, shown, judged, strict=True):
        nearest = subject.dataset.references[detection.references[0].reference_id]
        line[0].imshow(_seen(subject, sample.category, sample.path))
        line[1].imshow(_seen(subject, nearest.category, nearest.path))
        line[2].imshow(detection.map, cmap="turbo", vmin=0.0, vmax=hottest)
        line[3].imshow(_mask(subject, sample))
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
        score = detection.measures.score
        side = ">" if score > level else "≤"
        name = readable(f"{sample.kind}/{sample.path.name}")
        line[0].set_ylabel(f"{title}\n{name}\n{score:.4f} {side} {level:.4f}", size=7)
    figure.savefig(path, dpi=90)


def choose(samples: list[Sample], scores: NDArray[np.float64], threshold: float) -> list[tuple[str, list[int]]]:
    """Numbers of the samples to show, under what they are shown as; none twice.

    scores: float64 (n,). threshold: what tells good from defective.
    """
    defective = np.array([sample.defective for sample in samples])
    wrong = np.where(defective, threshold - scores, scores - threshold)
    shown: list[tuple[str, list[int]]] = []
    used = set[int]()
    orders = {
        "best": np.argsort(np.where(defective, -scores, np.inf), kind="stable"),
        "worst": np.argsort(-wrong, kind="stable"),
        "borderline": np.argsort(np.abs(scores - threshold), kind="stable"),
    }
    for title, order in orders.items():
        indices = [int(index) for index in order if int(index) not in used][:_EACH]
        used.update(indices)
        shown.append((title, indices))
    return shown


def best_threshold(samples: list[Sample], scores: NDArray[np.float64]) -> float:
    """The level with the largest F1 when what is above it is rejected: between two scores, so that it is none."""
    defective = [sample.defective for sample in samples]
    if not any(defective):
        return float(scores.max())
    precision, recall, levels = precision_recall_curve(defective, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    lowest = float(levels[int(np.argmax(f1[:-1]))])  # of the scores above the level
    below = scores[scores < lowest]
    return (lowest + float(below.max())) / 2 if len(below) else float(np.nextafter(lowest, -np.inf))


def _seen(subject: Subject, category: str, path: Path) -> NDArray[np.uint8]:
    """The part of the image that the encoder sees: map and mask cover the crop, not the whole image."""
    prepared = load_image(path, subject.memory.geometry_of(category), subject.space.global_geometry)
    pixels: NDArray[np.uint8] = prepared.window.permute(1, 2, 0).numpy()
    return pixels


def _mask(subject: Subject, sample: Sample) -> NDArray[np.uint8]:
    """The mask in the map's frame, black and white; grey if there is none."""
    if not sample.pixels_known:
        return np.full((8, 8, 3), 128, np.uint8)
    mask = read_mask(sample, subject.memory.frame(sample.category))
    return np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
