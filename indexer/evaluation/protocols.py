"""The paper's experiments, each as searches of one memory of all references."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from indexer.encoders import FeatureSpace
from indexer.evaluation.dataset import Dataset
from indexer.scoring import ScoringSettings

Protocol = Literal[
    "multi-class", "recognised", "single-class", "few-shot", "scaling", "incremental", "ablation", "encoders"
]

Among = Literal["all", "own", "recognised"]

SHOTS = (1, 2, 4, 8, 16)
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
RADII = (0, 1, 2, 3)


@dataclass(frozen=True)
class Search:
    """How a sample is judged. references: numbers of the references searched; None for all.

    among: all of those, or those of the sample's own category, or those of the category of the most similar reference:
    what the service does for a picture that comes without a category.
    """

    scoring: ScoringSettings
    among: Among = "all"
    references: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Variant:
    """One line of a protocol's table: a search, and the categories whose samples it judges (None: all).

    setting: what is varied, as people read it. seed: of the draw of references, where there is one.
    """

    protocol: Protocol
    setting: str
    search: Search
    seed: int | None = None
    judged: tuple[str, ...] | None = None

    def judges(self, category: str) -> bool:
        """Whether samples of this category are judged."""
        return self.judged is None or category in self.judged


def variants(
    protocol: Protocol, dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: int
) -> list[Variant]:
    """The lines of one protocol on a data set. seeds: how many draws of references, where they are drawn."""
    return _MAKERS[protocol](dataset, scoring, space, range(seeds))


def _multi_class(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    return [Variant("multi-class", "one pooled memory, no labels", Search(scoring))]


def _encoders(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    size = space.geometry
    name = f"{space.encoder}, {size.resize} → {size.crop}"
    return [Variant("encoders", name, Search(scoring))]


def _recognised(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    return [Variant("recognised", "the category is recognised, then searched", Search(scoring, "recognised"))]


def _single_class(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    return [Variant("single-class", "a memory for each category", Search(scoring, "own"))]


def _few_shot(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    found = []
    for shots in SHOTS:
        for seed in seeds:
            drawn = _drawn(dataset, seed, lambda count, shots=shots: min(count, shots))  # type: ignore[misc]
            found.append(Variant("few-shot", f"Y = {shots}", Search(scoring, references=drawn), seed))
    return found


def _scaling(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    found = []
    for share in SHARES:
        for seed in seeds if share < 1 else range(1):
            drawn = _drawn(dataset, seed, lambda count, share=share: math.ceil(count * share))  # type: ignore[misc]
            found.append(Variant("scaling", f"τ = {share:g}", Search(scoring, references=drawn), seed))
    return found


def _incremental(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    names = dataset.categories
    first = math.ceil(len(names) / 2)
    found = []
    for count in range(first, len(names) + 1):
        known = names[:count]
        chosen = tuple(row for row, each in enumerate(dataset.references) if each.category in known)
        setting = f"{count} categories" if count == first else f"+ {names[count - 1]}"
        search = Search(scoring, references=None if count == len(names) else chosen)
        found.append(Variant("incremental", setting, search, judged=known))
    return found


def _ablation(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, seeds: range) -> list[Variant]:
    layers, everything = len(space.layers), len(dataset.references)
    lines = [(f"as set: K = {scoring.k}, ρ = {scoring.rho}, all layers", scoring)]
    for layer, name in enumerate(space.layers):
        only = tuple(float(number == layer) for number in range(layers))
        lines.append((f"{name} only", replace(scoring, layer_weights=only)))
    for used in range(layers - 1, 1, -1):
        last = tuple(float(number >= layers - used) for number in range(layers))
        lines.append((f"the last {used} layers", replace(scoring, layer_weights=last)))
    for k in sorted({max(1, scoring.k // 10), max(1, scoring.k // 3)} - {scoring.k}):
        lines.append((f"K = {k}", replace(scoring, k=k)))
    lines.append(("no global retrieval: all references", replace(scoring, k=everything)))
    for rho in RADII:
        if rho != scoring.rho:
            lines.append((f"ρ = {rho}", replace(scoring, rho=rho)))
    lines.append(("no place: the whole grid", replace(scoring, rho=max(space.grid) - 1)))
    return [Variant("ablation", setting, Search(changed)) for setting, changed in lines]


def _drawn(dataset: Dataset, seed: int, how_many: Callable[[int], int]) -> tuple[int, ...]:
    """Numbers of drawn references, `how_many(n)` of every category's n. Of one seed, smaller draws lie in larger."""
    drawn: list[int] = []
    for name in dataset.categories:
        rows = [row for row, each in enumerate(dataset.references) if each.category == name]
        order = np.random.default_rng([seed, *name.encode()]).permutation(len(rows))
        drawn += [rows[place] for place in order[: how_many(len(rows))]]
    return tuple(sorted(drawn))


_MAKERS: dict[Protocol, Callable[[Dataset, ScoringSettings, FeatureSpace, range], list[Variant]]] = {
    "multi-class": _multi_class,
    "recognised": _recognised,
    "single-class": _single_class,
    "few-shot": _few_shot,
    "scaling": _scaling,
    "incremental": _incremental,
    "ablation": _ablation,
    "encoders": _encoders,
}
PROTOCOLS: tuple[Protocol, ...] = tuple(_MAKERS)
