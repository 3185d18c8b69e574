"""The tables of a report, a line for everything measured, with what the paper reports below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from indexer.evaluation.dataset import Dataset
from indexer.evaluation.measured import Measured
from indexer.evaluation.metrics import FIGURES, Figures, deviation, mean
from indexer.evaluation.paper import Reported, encoder_line, reported
from indexer.evaluation.protocols import Protocol
from indexer.evaluation.run import Outcome

_HEADS = ("I-AUROC", "I-AP", "I-F1max", "P-AUROC", "P-AP", "P-F1max", "AUPRO")
_SAMPLED = "AUPRO-200"  # at the authors' program's 200 thresholds: what the paper reports
_PAPERS = "– "  # begins the label of a line of the paper's
COMPARISON = ("protocol", "line", "paper", "figure", "reported", "ours", "difference")
BESIDE = (
    "Lines of RAD and Dinomaly are the paper's; in brackets, how many points ours is above them. "
    f"{_SAMPLED} is AUPRO at 200 thresholds, as the authors' program samples it; AUPRO is exact."
)
_TITLES: dict[Protocol, str] = {
    "multi-class": "Multi-class: one pooled memory, no labels",
    "recognised": "As the service searches without a category: it is recognised first",
    "single-class": "Single-class: each category against its own references",
    "few-shot": "Few-shot: Y references per category, pooled (table A1, figure 3)",
    "single-class-scaling": "Single-class scaling: a share τ of each category's own references (table 2)",
    "multi-class-scaling": "Multi-class scaling: a share τ of every category's references, pooled (table 2)",
    "incremental": "Incremental: a share τ of a new category's references beside fixed categories (table 2)",
    "onboarding": "Onboarding: categories join one after another",
    "ablation": "Ablation: layers, global retrieval, place (table A4)",
    "sensitivity": "Sensitivity: layers, K, ρ",
    "encoders": "Encoders and resolutions (table A2)",
}


@dataclass(frozen=True)
class TableLine:
    """One line of a table.

    spread: standard deviations, where several draws were averaged. ahead: on a line of the paper's, how far ours is
    above it.
    """

    label: str
    figures: Figures
    spread: Figures | None = None
    ahead: Figures | None = None


@dataclass(frozen=True)
class Table:
    """One table of the report, its first column headed `head`."""

    protocol: Protocol
    title: str
    head: str
    lines: tuple[TableLine, ...]

    @property
    def beside_the_paper(self) -> bool:
        """Whether any of its lines is the paper's."""
        return any(line.ahead is not None for line in self.lines)

    @property
    def heads(self) -> tuple[str, ...]:
        """Of all columns."""
        return (self.head, *_HEADS, *[_SAMPLED] * self.beside_the_paper)

    def rows(self) -> list[list[str]]:
        """The cells of every line."""
        names = [*FIGURES, *["aupro_sampled"] * self.beside_the_paper]
        return [[line.label, *_cells(line, names)] for line in self.lines]

    def comparisons(self) -> Iterator[list[str | float]]:
        """A row of `COMPARISON` for every figure of the paper that stands here."""
        own = self.lines[0]
        for line in self.lines:
            if line.ahead is None:
                own = line
                continue
            for name in (*FIGURES, "aupro_sampled"):
                if (ahead := getattr(line.ahead, name)) is not None:
                    papers = line.label.removeprefix(_PAPERS)
                    figures = getattr(line.figures, name), getattr(own.figures, name), ahead
                    yield [self.protocol, own.label, papers, name, *figures]


def tables_of(dataset: Dataset, measured: Sequence[Measured]) -> list[Table]:
    """Every protocol's tables, in the paper's order; all encoders share the one of the protocol `encoders`."""
    tables: list[Table] = []
    for protocol, title in _TITLES.items():
        compared: list[TableLine] = []
        for run in measured:
            outcomes = run.by_protocol().get(protocol, [])
            if not outcomes:
                continue
            head, lines = _lines(protocol, outcomes)
            if not run.differences(dataset, protocol):
                named = encoder_line(run.space) if protocol == "encoders" else None
                lines = _with_the_papers(lines, dataset, protocol, named)
            if protocol == "encoders":
                compared += lines
            else:
                tables.append(Table(protocol, title, head, tuple(lines)))
        if compared:
            tables.append(Table(protocol, title, "Encoder", tuple(compared)))
    return tables


def _with_the_papers(
    lines: Sequence[TableLine], dataset: Dataset, protocol: Protocol, named: str | None
) -> list[TableLine]:
    """Every line, and after it what the paper reports there. named: the paper's name of it, else its label."""
    beside = []
    for line in lines:
        papers = reported(dataset.layout, protocol, named or line.label)
        beside += [line, *(_beside(line, paper) for paper in papers)]
    return beside


def _lines(protocol: Protocol, outcomes: Sequence[Outcome]) -> tuple[str, list[TableLine]]:
    """What the first column of a protocol's table is, and our lines."""
    if protocol in ("multi-class", "recognised", "single-class"):
        [outcome] = outcomes
        lines = [TableLine(name, judged.figures) for name, judged in outcome.categories.items()]
        return "Category", [*lines, TableLine("mean", outcome.mean)]
    if protocol == "onboarding":
        return "On board", _onboarding(outcomes)
    lines = []
    for setting in dict.fromkeys(outcome.variant.setting for outcome in outcomes):
        drawn = [outcome.mean for outcome in outcomes if outcome.variant.setting == setting]
        lines.append(TableLine(setting, mean(drawn), deviation(drawn) if len(drawn) > 1 else None))
    return "Setting", lines


def _onboarding(outcomes: Sequence[Outcome]) -> list[TableLine]:
    """For each step: the categories that were there first, the one just added, and all."""
    lines = []
    first = tuple(outcomes[0].categories)
    for outcome in outcomes:
        setting = outcome.variant.setting
        known = [outcome.categories[name].figures for name in first]
        lines.append(TableLine(f"{setting}: the first {len(first)}", mean(known)))
        if len(outcome.categories) > len(first):
            newest = list(outcome.categories.values())[-1]
            lines += [TableLine(f"{setting}: the new one", newest.figures), TableLine(f"{setting}: all", outcome.mean)]
    return lines


def _beside(line: TableLine, papers: Reported) -> TableLine:
    """The paper's line, with how far ours is above it."""
    ahead = {
        name: getattr(line.figures, name) - value
        for name in (*FIGURES, "aupro_sampled")
        if (value := getattr(papers.figures, name)) is not None and getattr(line.figures, name) is not None
    }
    return TableLine(f"{_PAPERS}{papers.method}, {papers.table}", papers.figures, ahead=Figures(**ahead))


def _cells(line: TableLine, names: Sequence[str]) -> list[str]:
    """A line's figures in percent, with their spread, or with how far ours is above the paper's."""
    cells = []
    for name in names:
        value = getattr(line.figures, name)
        spread, ahead = getattr(line.spread, name, None), getattr(line.ahead, name, None)
        if value is None:
            cells.append("–")
        elif ahead is not None:
            cells.append(f"{100 * value:.1f} ({100 * ahead:+.1f})")
        else:
            cells.append(f"{100 * value:.1f}" + (f" ± {100 * spread:.1f}" if spread is not None else ""))
    return cells
