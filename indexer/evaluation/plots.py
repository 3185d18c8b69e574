"""Curves and histograms of a run, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from indexer.evaluation.dataset import Dataset
from indexer.evaluation.metrics import deviation, mean
from indexer.evaluation.run import Outcome

_COLUMNS = 4  # histograms side by side
_LINES = 15  # names one under another in a legend
_SHOWN = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1": "pixel F1-max",
    "aupro": "AUPRO",
}


def draw_ranking(dataset: Dataset, outcome: Outcome, path: Path) -> None:
    """ROC and precision–recall of the image scores, a line for each category that has good and defective samples."""
    ranked = {
        name: judged
        for name, judged in outcome.categories.items()
        if 0 < _truth(dataset, name).mean() < 1  # both kinds
    }
    columns = max(1, -(-len(ranked) // _LINES))
    figure = Figure(figsize=(11 + 2.2 * columns, 5), layout="constrained")
    roc, pr = figure.subplots(1, 2)
    for (name, judged), color in zip(ranked.items(), colormaps["turbo"](np.linspace(0, 1, len(ranked))), strict=True):
        truth = _truth(dataset, name)
        false_rate, true_rate, _ = roc_curve(truth, judged.scores)
        precision, recall, _ = precision_recall_curve(truth, judged.scores)
        area, average = 100 * (judged.figures.image_auroc or 0), 100 * (judged.figures.image_ap or 0)
        roc.plot(false_rate, true_rate, color=color, label=f"{name}  {area:.1f}  {average:.1f}")
        pr.plot(recall, precision, color=color)
    roc.set(title="ROC", xlabel="good parts rejected", ylabel="defective parts found")
    pr.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    for axes in (roc, pr):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if ranked:
        title = "area under ROC, average precision, %"
        figure.legend(loc="outside right center", fontsize=7, ncols=columns, title=title, title_fontsize=7)
    figure.suptitle(f"Image scores: {title_of(outcome)}", fontsize=10)
    figure.savefig(path, dpi=110)


def draw_histograms(dataset: Dataset, outcome: Outcome, thresholds: Mapping[str, float], path: Path) -> None:
    """Scores of good and defective samples of each category, with the threshold where there is one."""
    names = list(outcome.categories)
    rows = -(-len(names) // _COLUMNS)
    columns = min(len(names), _COLUMNS)
    figure = Figure(figsize=(3.4 * columns, 0.5 + 2.5 * rows), layout="constrained")
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        scores, truth = np.array(outcome.categories[name].scores), _truth(dataset, name)
        edges = np.histogram_bin_edges(scores, 24).tolist()
        axes.hist(scores[~truth], edges, alpha=0.6, label="good")
        axes.hist(scores[truth], edges, alpha=0.6, label="defective")
        if name in thresholds:
            axes.axvline(thresholds[name], color="black", linestyle="--", label="threshold")
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=6)
    figure.suptitle(f"Image scores: {title_of(outcome)}", fontsize=10)
    figure.supxlabel("image score", fontsize=8)
    figure.supylabel("test images", fontsize=8)
    figure.savefig(path, dpi=110)


def title_of(outcome: Outcome) -> str:
    """What an image is of, for one who sees it without its report."""
    return f"{outcome.variant.protocol} ({outcome.variant.setting})"


def draw_growth(outcomes: Sequence[Outcome], label: str, path: Path) -> None:
    """Mean figures against how many references there are, with their spread over draws.

    outcomes: of one protocol, whose settings end in a number. label: what that number is.
    """
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    settings = list(dict.fromkeys(outcome.variant.setting for outcome in outcomes))
    drawn = [[measured.mean for measured in outcomes if measured.variant.setting == setting] for setting in settings]
    amounts = [float(setting.rpartition(" ")[2]) for setting in settings]
    for name, shown in _SHOWN.items():
        middles = [getattr(mean(figures), name) for figures in drawn]
        if None in middles:
            continue
        spreads = [100 * (getattr(deviation(figures), name) or 0.0) for figures in drawn]
        axes.errorbar(amounts, [100 * value for value in middles], yerr=spreads, marker="o", capsize=3, label=shown)
    axes.set_xscale("log", base=2)
    axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
    axes.set(xlabel=label, ylabel="%")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def _truth(dataset: Dataset, category: str) -> np.typing.NDArray[np.bool_]:
    return np.array([sample.defective for sample in dataset.samples if sample.category == category])
