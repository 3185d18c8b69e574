"""What was measured, as tables: on the terminal, and as JSON, CSV and Markdown in the paper's form."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table as Drawn

from indexer.encoders import FeatureSpace
from indexer.evaluation.dataset import Dataset, Sample
from indexer.evaluation.metrics import FIGURES, Figures, deviation, mean
from indexer.evaluation.presets import PAPER_ENCODER, PRESETS, REPORTED_FEW_SHOT
from indexer.evaluation.protocols import Protocol
from indexer.evaluation.run import Outcome
from indexer.evaluation.thresholds import Decided
from indexer.scoring import ScoringSettings

_HEADS = ("I-AUROC", "I-AP", "I-F1max", "P-AUROC", "P-AP", "P-F1max", "AUPRO")
_DECIDED_HEADS = ("Category", "Threshold", "Good parts rejected", "Defective parts found", "Searched in its category")
_TITLES: dict[Protocol, str] = {
    "multi-class": "Multi-class: one pooled memory, no labels",
    "recognised": "As the service searches without a category: it is recognised first",
    "single-class": "Single-class: each category against its own references",
    "few-shot": "Few-shot: Y references per category",
    "scaling": "Data scaling: a share τ of every category's references",
    "incremental": "Incremental onboarding: categories join one after another",
    "ablation": "Ablation: layers, global retrieval, ρ",
    "encoders": "Encoders and resolutions",
}


@dataclass(frozen=True)
class Measured:
    """One encoder at one size, what came of every variant, and how thresholds from the references decided."""

    space: FeatureSpace
    codec: str
    scoring: ScoringSettings
    outcomes: tuple[Outcome, ...]
    decided: tuple[Decided, ...]


@dataclass(frozen=True)
class Line:
    """One line of a table. spread: standard deviations, where several draws were averaged."""

    label: str
    figures: Figures
    spread: Figures | None = None


@dataclass(frozen=True)
class Table:
    """One table of the report, its first column headed `head`."""

    title: str
    head: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Report:
    """Everything one run found out about a data set."""

    dataset: Dataset
    measured: tuple[Measured, ...]
    false_reject_rate: float

    def facts(self) -> list[str]:
        """What the figures rest on, in sentences."""
        defective = sum(sample.defective for sample in self.dataset.samples)
        masked = sum(sample.mask is not None for sample in self.dataset.samples)
        preset, categories = PRESETS[self.dataset.layout], len(self.dataset.categories)
        facts = [
            f"{preset.title}: {categories} categories, "
            f"{len(self.dataset.references)} references, {len(self.dataset.samples)} test pictures, "
            f"{defective} of them defective, {masked} with a mask."
        ]
        if preset.categories not in (None, categories):
            facts.append(f"The paper's figures are means over all {preset.categories} categories of {preset.title}.")
        facts += self._lacking()
        for each in self.measured:
            size, scoring = each.space.geometry, each.scoring
            facts.append(
                f"Encoder {each.space.encoder}, fingerprint {each.space.fingerprint[:12]}, "
                f"{size.resize} → {size.crop} pixels, {each.codec} codes, K = {scoring.k}, ρ = {scoring.rho}."
            )
        errors = [outcome.mean.pixel_error for each in self.measured for outcome in each.outcomes]
        if any(errors):
            facts.append(f"Scores of pixels were binned: no mean pixel figure is off by more than {max(errors):.1e}.")
        return facts

    def _lacking(self) -> list[str]:
        """Which categories some figures, and their means, leave out."""
        told = []
        lacking: dict[str, Callable[[Sample], bool]] = {
            "good test pictures: no image figures of": lambda sample: not sample.defective,
            "defective test pictures: no figures of": lambda sample: sample.defective,
            "masks: no pixel figures of": lambda sample: sample.mask is not None,
        }
        for what, has in lacking.items():
            there = {sample.category for sample in self.dataset.samples if has(sample)}
            if missing := [name for name in self.dataset.categories if name not in there]:
                told.append(f"No {what} {', '.join(missing)}, and none in the means.")
        return told

    def tables(self) -> list[Table]:
        """Every protocol's tables, in the paper's order."""
        tables: list[Table] = []
        for protocol in _TITLES:
            held = [(each, [o for o in each.outcomes if o.variant.protocol == protocol]) for each in self.measured]
            held = [(each, outcomes) for each, outcomes in held if outcomes]
            if protocol == "encoders" and held:
                lines = [Line(outcome.variant.setting, outcome.mean) for _, outcomes in held for outcome in outcomes]
                tables.append(Table(_TITLES[protocol], "Encoder", tuple(lines)))
                continue
            for _, outcomes in held:
                tables.append(_table(protocol, outcomes, self.dataset))
        return tables

    def show(self, console: Console) -> None:
        """Print facts and tables."""
        for fact in self.facts():
            console.print(fact, highlight=False)
        for table in self.tables():
            drawn = Drawn(table.head, title=table.title, title_justify="left")
            for head in _HEADS:
                drawn.add_column(head, justify="right")
            for line in table.lines:
                drawn.add_row(line.label, *_cells(line))
            console.print(drawn)
        for each in self.measured:
            if each.decided:
                drawn = Drawn(*_DECIDED_HEADS, title=self._decided_title(), title_justify="left")
                for row in map(_decided_cells, each.decided):
                    drawn.add_row(*row)
                console.print(drawn)

    def markdown(self) -> str:
        """Facts and tables, percentages as in the paper."""
        parts = ["\n".join(f"- {fact}" for fact in self.facts())]
        for table in self.tables():
            rows = [
                f"### {table.title}\n",
                f"| {table.head} | {' | '.join(_HEADS)} |",
                f"|---|{'---:|' * len(_HEADS)}",
                *(f"| {line.label} | {' | '.join(_cells(line))} |" for line in table.lines),
            ]
            parts.append("\n".join(rows))
        for each in self.measured:
            if each.decided:
                rows = [
                    f"### {self._decided_title()}\n",
                    f"| {' | '.join(_DECIDED_HEADS)} |",
                    "|---|---:|---:|---:|---:|",
                ]
                rows += [f"| {' | '.join(_decided_cells(row))} |" for row in each.decided]
                parts.append("\n".join(rows))
        return "\n\n".join(parts) + "\n"

    def save(self, folder: Path) -> None:
        """Write report.md, report.json and report.csv into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(self.markdown(), encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(self._as_json(), indent=1), encoding="utf-8")
        with (folder / "report.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["encoder", "fingerprint", "resize", "crop", "protocol", "setting", "seed", "references", "category",
                 *FIGURES, "aupro_sampled", "pixel_error"]
            )  # fmt: skip
            for each in self.measured:
                size = each.space.geometry
                for outcome in each.outcomes:
                    variant = outcome.variant
                    start = [each.space.encoder, each.space.fingerprint, size.resize, size.crop, variant.protocol,
                             variant.setting, variant.seed, outcome.references]  # fmt: skip
                    for name, category in outcome.categories.items():
                        writer.writerow([*start, name, *asdict(category.figures).values()])
                    writer.writerow([*start, "mean", *asdict(outcome.mean).values()])

    def _decided_title(self) -> str:
        return f"Thresholds from the references alone, for {100 * self.false_reject_rate:g} % false rejects"

    def _as_json(self) -> dict[str, object]:
        samples = self.dataset.samples
        return {
            "facts": self.facts(),
            "layout": self.dataset.layout,
            "samples": {
                name: [
                    {"path": str(each.path.relative_to(self.dataset.folder)), "kind": each.kind}
                    for each in samples
                    if each.category == name
                ]
                for name in self.dataset.categories
            },
            "measured": [
                {
                    "space": json.loads(each.space.to_json()),
                    "codec": each.codec,
                    "scoring": asdict(each.scoring),
                    "thresholds": [asdict(decided) for decided in each.decided],
                    "variants": [
                        {
                            "protocol": outcome.variant.protocol,
                            "setting": outcome.variant.setting,
                            "seed": outcome.variant.seed,
                            "references": outcome.references,
                            "mean": asdict(outcome.mean),
                            "categories": {name: asdict(found) for name, found in outcome.categories.items()},
                        }
                        for outcome in each.outcomes
                    ],
                }
                for each in self.measured
            ],
        }


def _table(protocol: Protocol, outcomes: Sequence[Outcome], dataset: Dataset) -> Table:
    if protocol in ("multi-class", "recognised", "single-class"):
        [outcome] = outcomes
        lines = [Line(name, found.figures) for name, found in outcome.categories.items()]
        lines.append(Line("mean", outcome.mean))
        reported = PRESETS[dataset.layout].reported
        if protocol == "multi-class" and reported is not None:
            lines += _beside_the_paper(outcome.mean, reported, PAPER_ENCODER)
        return Table(_TITLES[protocol], "Category", tuple(lines))
    if protocol == "incremental":
        return Table(_TITLES[protocol], "On board", tuple(_incremental(outcomes)))
    lines = []
    for setting in dict.fromkeys(outcome.variant.setting for outcome in outcomes):
        drawn = [outcome.mean for outcome in outcomes if outcome.variant.setting == setting]
        lines.append(Line(setting, mean(drawn), deviation(drawn) if len(drawn) > 1 else None))
        if protocol == "few-shot" and dataset.layout == "mvtec-ad":
            shots = int(setting.removeprefix("Y = "))
            if shots in REPORTED_FEW_SHOT:
                lines += _beside_the_paper(lines[-1].figures, REPORTED_FEW_SHOT[shots], PAPER_ENCODER)
    return Table(_TITLES[protocol], "Setting", tuple(lines))


def _incremental(outcomes: Sequence[Outcome]) -> list[Line]:
    """For each step: the categories that were there first, the one just added, and all."""
    lines = []
    first = tuple(outcomes[0].categories)
    for outcome in outcomes:
        setting = outcome.variant.setting
        known = [outcome.categories[name].figures for name in first]
        lines.append(Line(f"{setting}: the first {len(first)}", mean(known)))
        if len(outcome.categories) > len(first):
            newest = list(outcome.categories.values())[-1]
            lines += [Line(f"{setting}: the new one", newest.figures), Line(f"{setting}: all", outcome.mean)]
    return lines


def _beside_the_paper(found: Figures, reported: Figures, encoder: str) -> list[Line]:
    """What the paper reports, and how far ours is from it. AUPRO is held against theirs as their program samples it."""
    comparable = replace(found, aupro=found.aupro_sampled)
    differences = {
        name: getattr(comparable, name) - getattr(reported, name)
        for name in FIGURES
        if getattr(comparable, name) is not None and getattr(reported, name) is not None
    }
    return [
        Line("AUPRO at the program's 200 thresholds", Figures(aupro=found.aupro_sampled)),
        Line(f"paper ({encoder})", reported),
        Line("difference", Figures(**differences)),
    ]


def _decided_cells(decided: Decided) -> list[str]:
    recognised = f"{decided.recognised} of {decided.good + decided.defective}"
    if decided.threshold is None:
        return [decided.category, "none with fewer than two references", "–", "–", recognised]
    threshold = f"{decided.threshold:.4f}" + ("" if decided.promised else ", too few references to promise the rate")
    rejected, found = f"{decided.rejected} of {decided.good}", f"{decided.found} of {decided.defective}"
    return [decided.category, threshold, rejected, found, recognised]


def _cells(line: Line) -> list[str]:
    """A line's figures in percent, with their spread; a difference carries its sign."""
    cells = []
    for name in FIGURES:
        value = getattr(line.figures, name)
        if value is None:
            cells.append("–")
            continue
        cell = f"{100 * value:+.1f}" if line.label == "difference" else f"{100 * value:.1f}"
        spread = getattr(line.spread, name) if line.spread is not None else None
        cells.append(cell if spread is None else f"{cell} ± {100 * spread:.1f}")
    return cells
