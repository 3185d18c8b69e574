"""The paper's protocols, each as searches of one memory of all references."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from indexer.domain.scoring_settings import ANYWHERE, ScoringSettings
from indexer.encoders import FeatureSpace
from indexer.evaluation.dataset import Dataset

Protocol = Literal[
    "multi-class",
    "recognised",
    "single-class",
    "few-shot",
    "single-class-scaling",
    "multi-class-scaling",
    "incremental",
    "onboarding",
    "ablation",
    "sensitivity",
    "encoders",
]

Among = Literal["all", "own", "recognised"]

SHOTS = (1, 2, 4, 8, 16)
SHARES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # table 2, single-class and multi-class
NEW_SHARES = (0.01, 0.02, 0.1, 0.2, 0.8, 1.0)  # table 2, incremental
FIXED_CATEGORIES, NEW_CATEGORY = ("carpet", "metal_nut", "toothbrush", "leather"), "transistor"
ABLATION = (
    "the last layer, global retrieval",
    "the last layer, global retrieval, place",
    "all layers",
    "all layers, global retrieval",
    "all layers, global retrieval, place",
)  # table A4
RADII = (0, 1, 2, 3)


@dataclass(frozen=True)
class Search:
    """How a sample is judged. references: numbers of the references searched; None for all.

    among: all of those, or those of the sample's own category, or those of the category of the most similar reference:
    what the service does for an image that comes without a category. balance: whether layers weigh as the references
    of the category that is searched say, as in the service; not where all are searched, nor in the paper. anywhere:
    categories whose patches are compared with those of all places, where one category is searched.
    """

    scoring: ScoringSettings
    among: Among = "all"
    references: tuple[int, ...] | None = None
    balance: bool = False
    anywhere: tuple[str, ...] = ()

    def balancing(self) -> Search:
        """The same, balanced where one category is searched."""
        return self if self.among == "all" else replace(self, balance=True)

    def comparing_anywhere(self, categories: Sequence[str]) -> Search:
        """The same, with these categories' patches compared with those of all places where one category is searched."""
        return self if self.among == "all" else replace(self, anywhere=tuple(categories))

    def scoring_of(self, category: str) -> ScoringSettings:
        """How images that are searched in a category are scored."""
        return replace(self.scoring, rho=ANYWHERE) if category in self.anywhere else self.scoring


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


@dataclass(frozen=True)
class Draws:
    """What protocols that search a part of the references choose.

    seeds: how many draws. shots: references per category of few-shot. fixed, new: categories of `incremental`, those
    that are there from the start and the one that is added; empty and None take the paper's where the data set has
    them, else the last category by name as the new one and all others as fixed.
    """

    seeds: int = 3
    shots: tuple[int, ...] = SHOTS
    fixed: tuple[str, ...] = ()
    new: str | None = None


def variants(
    protocol: Protocol, dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws
) -> list[Variant]:
    """The lines of one protocol on a data set. ValueError for draws that the data set cannot give."""
    return _MAKERS[protocol](dataset, scoring, space, draws)


def _multi_class(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    return [Variant("multi-class", "one pooled memory, no labels", Search(scoring))]


def _encoders(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    size = space.global_geometry
    name = f"{space.encoder}, {size.resized[0]} → {size.size[0]}"
    return [Variant("encoders", name, Search(scoring))]


def _recognised(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    return [Variant("recognised", "the category is recognised, then searched", Search(scoring, "recognised"))]


def _single_class(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    return [Variant("single-class", "a memory for each category", Search(scoring, "own"))]


def _few_shot(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    lines = []
    for shots in draws.shots:
        counts = {name: min(count, shots) for name, count in _counts(dataset).items()}
        for seed in range(draws.seeds):
            search = Search(scoring, references=_drawn(dataset, seed, counts))
            lines.append(Variant("few-shot", f"Y = {shots}", search, seed))
    return lines


def _single_class_scaling(
    dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws
) -> list[Variant]:
    return _scaling("single-class-scaling", dataset, Search(scoring, "own"), draws)


def _multi_class_scaling(
    dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws
) -> list[Variant]:
    return _scaling("multi-class-scaling", dataset, Search(scoring), draws)


def _scaling(protocol: Protocol, dataset: Dataset, search: Search, draws: Draws) -> list[Variant]:
    lines = []
    for share in SHARES:
        counts = {name: share_of(count, share) for name, count in _counts(dataset).items()}
        for seed in range(draws.seeds if share < 1 else 1):
            drawn = replace(search, references=_drawn(dataset, seed, counts))
            lines.append(Variant(protocol, f"τ = {share:g}", drawn, seed))
    return lines


def _incremental(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    fixed, new = _fixed_and_new(dataset, draws)
    counts = _counts(dataset)
    lines = []
    for share in NEW_SHARES:
        searched = {name: counts[name] for name in fixed} | {new: share_of(counts[new], share)}
        for seed in range(draws.seeds if share < 1 else 1):
            search = Search(scoring, references=_drawn(dataset, seed, searched))
            lines.append(Variant("incremental", f"τ = {share:g}", search, seed, judged=(new,)))
    return lines


def _fixed_and_new(dataset: Dataset, draws: Draws) -> tuple[tuple[str, ...], str]:
    names = dataset.categories
    papers = {*FIXED_CATEGORIES, NEW_CATEGORY} <= set(names)
    new = draws.new or (NEW_CATEGORY if papers else names[-1])
    fixed = draws.fixed or tuple(category for category in (FIXED_CATEGORIES if papers else names) if category != new)
    for name in (*fixed, new):
        if name not in names:
            raise ValueError(f"the protocol incremental needs the category {name!r}: there are {', '.join(names)}")
    if not fixed or new in fixed:
        raise ValueError(f"the protocol incremental needs a fixed category that is not the new one, {new!r}")
    return fixed, new


def _onboarding(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    names = dataset.categories
    first = math.ceil(len(names) / 2)
    lines = []
    for count in range(first, len(names) + 1):
        known = names[:count]
        chosen = tuple(row for row, reference in enumerate(dataset.references) if reference.category in known)
        setting = f"{count} categories" if count == first else f"+ {names[count - 1]}"
        search = Search(scoring, references=None if count == len(names) else chosen)
        lines.append(Variant("onboarding", setting, search, judged=known))
    return lines


def _ablation(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    """Table A4: its rows, in its order. The single layer is the last one; without place the whole grid is searched."""
    last = tuple(float(layer == len(space.layers) - 1) for layer in range(len(space.layers)))
    anywhere = replace(scoring, rho=max(space.global_grid) - 1)
    lines = {
        ABLATION[0]: replace(anywhere, layer_weights=last),
        ABLATION[1]: replace(scoring, layer_weights=last),
        ABLATION[2]: replace(anywhere, k=len(dataset.references)),
        ABLATION[3]: anywhere,
        ABLATION[4]: scoring,
    }
    return [Variant("ablation", setting, Search(changed)) for setting, changed in lines.items()]


def _sensitivity(dataset: Dataset, scoring: ScoringSettings, space: FeatureSpace, draws: Draws) -> list[Variant]:
    layers, reference_count = len(space.layers), len(dataset.references)
    lines = [(f"as set: K = {scoring.k}, ρ = {scoring.rho}, all layers", scoring)]
    for layer, name in enumerate(space.layers):
        only = tuple(float(index == layer) for index in range(layers))
        lines.append((f"{name} only", replace(scoring, layer_weights=only)))
    for used in range(layers - 1, 1, -1):
        last = tuple(float(index >= layers - used) for index in range(layers))
        lines.append((f"the last {used} layers", replace(scoring, layer_weights=last)))
    for k in sorted({max(1, scoring.k // 10), max(1, scoring.k // 3)} - {scoring.k}):
        lines.append((f"K = {k}", replace(scoring, k=k)))
    lines.append(("no global retrieval: all references", replace(scoring, k=reference_count)))
    for rho in RADII:
        if rho != scoring.rho:
            lines.append((f"ρ = {rho}", replace(scoring, rho=rho)))
    lines.append(("no place: the whole grid", replace(scoring, rho=max(space.global_grid) - 1)))
    return [Variant("sensitivity", setting, Search(changed)) for setting, changed in lines]


def share_of(count: int, share: float) -> int:
    """⌊share · count⌋ references, at least one: of transistor's 213, two at τ = 0.01, as in the paper."""
    return max(1, math.floor(count * share + 1e-9))  # 0.1 · 220 is not to become 21


def _counts(dataset: Dataset) -> dict[str, int]:
    """References of each category."""
    counts = Counter(reference.category for reference in dataset.references)
    return {name: counts[name] for name in dataset.categories}


def _drawn(dataset: Dataset, seed: int, counts: Mapping[str, int]) -> tuple[int, ...]:
    """Numbers of the drawn references, as many of each category as `counts` says. Of one seed, smaller draws lie in
    larger ones.
    """
    drawn: list[int] = []
    for name, count in counts.items():
        rows = [row for row, reference in enumerate(dataset.references) if reference.category == name]
        order = np.random.default_rng([seed, *name.encode()]).permutation(len(rows))
        drawn += [rows[index] for index in order[:count]]
    return tuple(sorted(drawn))


_MAKERS: dict[Protocol, Callable[[Dataset, ScoringSettings, FeatureSpace, Draws], list[Variant]]] = {
    "multi-class": _multi_class,
    "recognised": _recognised,
    "single-class": _single_class,
    "few-shot": _few_shot,
    "single-class-scaling": _single_class_scaling,
    "multi-class-scaling": _multi_class_scaling,
    "incremental": _incremental,
    "onboarding": _onboarding,
    "ablation": _ablation,
    "sensitivity": _sensitivity,
    "encoders": _encoders,
}
PROTOCOLS: tuple[Protocol, ...] = tuple(_MAKERS)
