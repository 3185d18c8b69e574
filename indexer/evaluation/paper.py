"""The paper's figures, and whether a run has the paper's settings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import FeatureSpace
from indexer.evaluation.dataset import Dataset, Layout
from indexer.evaluation.metrics import Figures
from indexer.evaluation.presets import PRESETS
from indexer.evaluation.protocols import FIXED_CATEGORIES, NEW_CATEGORY, Protocol, Variant

_ENCODER = "DINOv3"  # of every table but A2
_LAYERS = ("layer 4", "layer 7", "layer 10", "layer 12")
_SMALL = (256, 224)  # table A2's second size
_INCREMENTAL_REFERENCES = 1018  # of the five categories, in MVTec-AD
# The single-class figures stand in table 2 alone, where all references are used.
_SINGLE_CLASS = ("single-class-scaling", "τ = 1")


@dataclass(frozen=True)
class Reported:
    """One line of a table of the paper. table: as in "table 1" or "tables A5 and A6". method: RAD or Dinomaly.

    figures: AUPRO is `aupro_sampled`, since the authors' program samples it.
    """

    table: str
    method: str
    figures: Figures


@dataclass(frozen=True)
class _Paper:
    lines: dict[tuple[str, str, str], tuple[Reported, ...]]  # by layout, protocol and line
    encoders: dict[str, tuple[str, ...]]  # names that each encoder of table A2 is published under


def reported(layout: Layout, protocol: Protocol, line: str) -> tuple[Reported, ...]:
    """What the paper reports for a line of our report: a category or `mean`, or a variant's setting."""
    if (protocol, line) == ("single-class", "mean"):
        return _paper().lines.get((layout, *_SINGLE_CLASS), ())
    return _paper().lines.get((layout, protocol, line), ())


def has_figures(layout: Layout, protocol: Protocol) -> bool:
    """Whether the paper reports this protocol on this data set."""
    protocol = "single-class-scaling" if protocol == "single-class" else protocol
    return any(key[:2] == (layout, protocol) for key in _paper().lines)


def encoder_line(space: FeatureSpace) -> str:
    """The line of table A2 that an encoder and a size would be."""
    return f"{_encoder(space)}, {space.global_geometry.resized[0]} → {space.global_geometry.size[0]}"


def differences(
    dataset: Dataset, space: FeatureSpace, scoring: ScoringSettings, variants: Sequence[Variant]
) -> tuple[str, ...]:
    """How a run of one protocol differs from the paper's; empty if the figures are comparable."""
    protocol, preset = variants[0].protocol, PRESETS[dataset.layout]
    if not has_figures(dataset.layout, protocol):
        reports_some = any(key[0] == dataset.layout for key in _paper().lines)
        return (f"it has no such runs of {preset.title}" if reports_some else "it has none of this data set",)
    differences = []
    encoder = _encoder(space)
    if encoder is None or (protocol != "encoders" and encoder != _ENCODER):
        named = "one of table A2's" if protocol == "encoders" else f"{_ENCODER} ViT-B/16"
        differences.append(f"encoder {space.encoder}, not {named}")
    elif space.layers != _LAYERS:
        differences.append(f"{', '.join(space.layers)}, not 4, 7, 10 and 12")
    sizes = [(preset.geometry.resized[0], preset.geometry.size[0])] + [_SMALL] * (protocol == "encoders")
    resize, crop = space.global_geometry.resized[0], space.global_geometry.size[0]
    if (resize, crop) not in sizes:
        differences.append(f"{resize} → {crop} pixels, not {sizes[0][0]} → {sizes[0][1]}")
    if scoring != preset.scoring:
        differences.append(f"K = {scoring.k}, ρ = {scoring.rho}, not {preset.scoring.k} and {preset.scoring.rho}")
    if any(variant.search.balance for variant in variants):
        differences.append("layers weighed as the references say, not equally")
    differences += _lacking_categories(dataset, variants)
    return tuple(differences)


def _lacking_categories(dataset: Dataset, variants: Sequence[Variant]) -> list[str]:
    if variants[0].protocol == "incremental":
        used = [dataset.references[row].category for row in variants[-1].search.references or ()]  # with τ = 1
        if set(used) != {*FIXED_CATEGORIES, NEW_CATEGORY} or variants[0].judged != (NEW_CATEGORY,):
            return [f"{NEW_CATEGORY} is not the new category, added to {', '.join(FIXED_CATEGORIES)}"]
        return [] if len(used) == _INCREMENTAL_REFERENCES else ["not all their references"]
    whole = PRESETS[dataset.layout].whole
    if whole is None:
        return []
    counts = (len(dataset.categories), len(dataset.references), len(dataset.samples))
    what = ("categories", "references", "test images")
    return [f"{has} of {all_} {name}" for has, all_, name in zip(counts, whole, what, strict=True) if has != all_]


def _encoder(space: FeatureSpace) -> str | None:
    """The name in table A2 of an encoder whose name says which published weights it has; None for any other."""
    # A checkpoint's file ends in the first digits of its checksum.
    name = re.sub(r"-[0-9a-f]{8}$", "", space.encoder).removeprefix("timm/")
    for encoder, published in _paper().encoders.items():
        if name in published or f"timm:{name}" in published:
            return encoder
    return None


@cache
def _paper() -> _Paper:
    stored = json.loads(Path(__file__).with_name("paper.json").read_text(encoding="utf-8"))
    lines: dict[tuple[str, str, str], tuple[Reported, ...]] = {}
    for row in stored["figures"]:
        *six, pro = [None if value is None else round(value / 100, 4) for value in row["figures"]]
        figures = Figures(*six, aupro_sampled=pro)
        key = row["dataset"], row["protocol"], row["line"]
        lines[key] = (*lines.get(key, ()), Reported(row["table"], row["method"], figures))
    return _Paper(lines, {name: tuple(published) for name, published in stored["encoders"].items()})
