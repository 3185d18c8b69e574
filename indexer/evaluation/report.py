"""The report of an evaluation: tables on the terminal, and JSON, CSV and Markdown in the paper's form."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as Drawn

from indexer.domain.scoring_settings import ANYWHERE
from indexer.evaluation.dataset import Dataset, Sample
from indexer.evaluation.measured import Measured
from indexer.evaluation.metrics import FIGURES
from indexer.evaluation.presets import PRESETS
from indexer.evaluation.tables import BESIDE, COMPARISON, Table, tables_of
from indexer.evaluation.thresholds import CategoryDecisions
from indexer.text import readable

_NAMED = 5  # masks of which nothing is left, by name
_LEFT_OUT = 20  # files that cannot be used, by name
_DECIDED_HEADS = ("Category", "Threshold", "Good parts rejected", "Defective parts found", "Searched in its category")


@dataclass(frozen=True)
class Report:
    """All results of one run on a data set."""

    dataset: Dataset
    measured: tuple[Measured, ...]
    false_reject_rate: float

    def facts(self) -> list[str]:
        """The facts behind the figures, in sentences."""
        defective = sum(sample.defective for sample in self.dataset.samples)
        masked = sum(sample.mask is not None for sample in self.dataset.samples)
        preset = PRESETS[self.dataset.layout]
        facts = [
            f"{preset.title}: {len(self.dataset.categories)} categories, "
            f"{len(self.dataset.references)} references, {len(self.dataset.samples)} test images, "
            f"{defective} of them defective, {masked} with a mask."
        ]
        facts += self._left_out()
        facts += self._lacking()
        for measured in self.measured:
            scoring = measured.scoring
            weighted = ", layers weighted from the references" if measured.balanced else ""
            facts.append(
                f"Encoder {measured.space.encoder}, fingerprint {measured.space.fingerprint[:12]}, "
                f"{measured.size}, {measured.codec} codes, K = {scoring.k}, ρ = {scoring.rho}{weighted}."
            )
            if measured.anywhere:
                facts.append(_placed(measured))
            if lost := measured.lost_masks:
                names = readable(", ".join(lost[:_NAMED]))
                more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
                facts.append(
                    f"Of {len(lost)} masks nothing is left ({measured.size}), so that their defects count "
                    f"as good pixels: they are empty, or lie in the border that is cut off: {names}{more}."
                )
        facts += self._not_the_papers()
        errors = [outcome.mean.pixel_error for measured in self.measured for outcome in measured.outcomes]
        if any(errors):
            facts.append(f"Scores of pixels were binned: no mean pixel figure is off by more than {max(errors):.1e}.")
        return facts

    def _left_out(self) -> list[str]:
        """What could not be used, and why."""
        left_out = self.dataset.left_out
        lines = [f"Left out: {len(left_out)} that cannot be used."] if left_out else []
        lines += [
            f"Left out: {rejected.path.relative_to(self.dataset.folder)}: {rejected.detail}"
            for rejected in left_out[:_LEFT_OUT]
        ]
        if len(left_out) > _LEFT_OUT:
            lines.append(f"Left out: … and {len(left_out) - _LEFT_OUT} more, see `left_out` in report.json.")
        return [readable(line) for line in lines]

    def _lacking(self) -> list[str]:
        """Which categories some figures, and their means, leave out."""
        lines = []
        lacking: dict[str, Callable[[Sample], bool]] = {
            "good test images: no image figures of": lambda sample: not sample.defective,
            "defective test images: no figures of": lambda sample: sample.defective,
            "masks: no pixel figures of": lambda sample: sample.mask is not None,
        }
        for lack, has in lacking.items():
            present = {sample.category for sample in self.dataset.samples if has(sample)}
            if missing := [name for name in self.dataset.categories if name not in present]:
                lines.append(f"No {lack} {', '.join(missing)}, and none in the means.")
        return lines

    def _not_the_papers(self) -> list[str]:
        """Which runs have no figures of the paper beside them, and why: a line for each reason."""
        protocols: dict[str, list[str]] = {}
        for measured in self.measured:
            for protocol in measured.by_protocol():
                if differing := measured.differences(self.dataset, protocol):
                    protocols.setdefault("; ".join(differing), []).append(protocol)
        return [
            f"No figures of the paper beside {', '.join(dict.fromkeys(protocol_names))}: {why}."
            for why, protocol_names in protocols.items()
        ]

    def tables(self) -> list[Table]:
        """Every protocol's tables, in the paper's order."""
        return tables_of(self.dataset, self.measured)

    def show(self, console: Console) -> None:
        """Print facts and tables."""
        for fact in self.facts():
            console.print(fact)
        for table in self.tables():
            drawn = Drawn(table.head, title=table.title, title_justify="left")
            for head in table.heads[1:]:
                drawn.add_column(head, justify="right")
            for row in table.rows():
                drawn.add_row(*row)
            console.print(drawn)
        if any(table.beside_the_paper for table in self.tables()):
            console.print(BESIDE, highlight=False)
        for measured in self.measured:
            if measured.decisions:
                drawn = Drawn(*_DECIDED_HEADS, title=self._decided_title(), title_justify="left")
                for row in map(_decided_cells, measured.decisions):
                    drawn.add_row(*row)
                console.print(drawn)

    def markdown(self) -> str:
        """Facts and tables, percentages as in the paper."""
        parts = ["\n".join(f"- {fact}" for fact in self.facts())]
        for table in self.tables():
            rows = [
                f"### {table.title}\n",
                f"| {' | '.join(table.heads)} |",
                f"|---|{'---:|' * (len(table.heads) - 1)}",
                *(f"| {' | '.join(row)} |" for row in table.rows()),
            ]
            parts.append("\n".join(rows))
        if any(table.beside_the_paper for table in self.tables()):
            parts.append(BESIDE)
        for measured in self.measured:
            if measured.decisions:
                rows = [
                    f"### {self._decided_title()}\n",
                    f"| {' | '.join(_DECIDED_HEADS)} |",
                    "|---|---:|---:|---:|---:|",
                ]
                rows += [f"| {' | '.join(_decided_cells(row))} |" for row in measured.decisions]
                parts.append("\n".join(rows))
        return "\n\n".join(parts) + "\n"

    def save(self, folder: Path) -> None:
        """Write report.md, report.json, report.csv and, where the paper's figures stand beside ours, paper.csv."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(self.markdown(), encoding="utf-8")
        (folder / "report.json").write_text(json.dumps(self._as_json(), indent=1), encoding="utf-8")
        with (folder / "report.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                [
                    "encoder",
                    "fingerprint",
                    "resize",
                    "crop",
                    "cells",
                    "protocol",
                    "setting",
                    "seed",
                    "references",
                    "category",
                    *FIGURES,
                    "aupro_sampled",
                    "pixel_error",
                ]
            )
            for measured in self.measured:
                geometry = measured.space.global_geometry
                sizes = (
                    (geometry.resized[0], geometry.size[0], "") if measured.cells is None else ("", "", measured.cells)
                )
                for outcome in measured.outcomes:
                    variant = outcome.variant
                    start = [
                        measured.space.encoder,
                        measured.space.fingerprint,
                        *sizes,
                        variant.protocol,
                        variant.setting,
                        variant.seed,
                        outcome.references,
                    ]
                    for name, category in outcome.categories.items():
                        writer.writerow([*start, name, *asdict(category.figures).values()])
                    writer.writerow([*start, "mean", *asdict(outcome.mean).values()])

        comparisons = [row for table in self.tables() for row in table.comparisons()]
        (folder / "paper.csv").unlink(missing_ok=True)  # of a run before
        if comparisons:
            with (folder / "paper.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([COMPARISON, *comparisons])

    def _decided_title(self) -> str:
        return f"Thresholds from the references alone, for {100 * self.false_reject_rate:g} % false rejects"

    def _as_json(self) -> dict[str, object]:
        samples = self.dataset.samples
        return {
            "facts": self.facts(),
            "layout": self.dataset.layout,
            "left_out": [
                {"path": str(rejected.path.relative_to(self.dataset.folder)), "detail": rejected.detail}
                for rejected in self.dataset.left_out
            ],
            "samples": {
                name: [
                    {"path": str(sample.path.relative_to(self.dataset.folder)), "kind": sample.kind}
                    for sample in samples
                    if sample.category == name
                ]
                for name in self.dataset.categories
            },
            "measured": [
                {
                    "space": json.loads(measured.space.to_json()),
                    "codec": measured.codec,
                    "cells": measured.cells,
                    "scoring": asdict(measured.scoring),
                    "thresholds": [asdict(decided) for decided in measured.decisions],
                    "variants": [
                        {
                            "protocol": outcome.variant.protocol,
                            "setting": outcome.variant.setting,
                            "seed": outcome.variant.seed,
                            "references": outcome.references,
                            "mean": asdict(outcome.mean),
                            "categories": {
                                name: asdict(category_outcome) for name, category_outcome in outcome.categories.items()
                            },
                        }
                        for outcome in measured.outcomes
                    ],
                }
                for measured in self.measured
            ],
        }


def _placed(measured: Measured) -> str:
    """Whose good parts seem to lie anywhere, and what was made of it."""
    names = readable(", ".join(measured.anywhere))
    if measured.compared_anywhere:
        return f"Compared with all places (ρ = {ANYWHERE}), since good parts seem to lie anywhere: {names}."
    return (
        f"Good parts seem to lie anywhere: {names}. --rho advised compares these with all places, in searches of one "
        "category."
    )


def _decided_cells(decided: CategoryDecisions) -> list[str]:
    recognised = f"{decided.recognised} of {decided.good + decided.defective}"
    if decided.threshold is None:
        return [decided.category, "none with fewer than two references", "–", "–", recognised]
    threshold = f"{decided.threshold:.4f}" + (
        "" if decided.rate_supported else ", too few references to promise the rate"
    )
    rejected, detected = f"{decided.rejected} of {decided.good}", f"{decided.detected} of {decided.defective}"
    return [decided.category, threshold, rejected, detected, recognised]
