"""The whole of `touchstone evaluate`: from a folder and options to the report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from matplotlib import rc_context

from indexer.calibration.alignment import measure_alignment
from indexer.cluster import connected
from indexer.cores import Cores
from indexer.domain.geometry import InputGeometry, choose_geometry
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Encoder, EncoderSettings, load_encoder
from indexer.evaluation.dataset import Dataset, Layout
from indexer.evaluation.encoding import ImageEncoding, LocalEncoding
from indexer.evaluation.features import FeatureCache
from indexer.evaluation.measured import Measured
from indexer.evaluation.plots import draw_growth, draw_histograms, draw_ranking
from indexer.evaluation.presets import PRESETS
from indexer.evaluation.protocols import Draws, Protocol, Search, Variant, variants
from indexer.evaluation.readers import read_dataset
from indexer.evaluation.report import Report
from indexer.evaluation.run import Outcome, Subject, evaluate
from indexer.evaluation.sheets import draw_sheet
from indexer.evaluation.thresholds import CategoryDecisions, decide_categories
from indexer.evaluation.usable import drop_unusable
from indexer.imaging.decode import decode_image
from indexer.memory import MemoryBank
from indexer.progress import Progress, progress
from indexer.search import choose_engine
from indexer.steps import run_to_end

SMALL = (256, 224)  # the paper's second resolution
_OWN = ("single-class", "single-class-scaling")  # protocols that search a sample's own category only
_DECIDED = ("recognised", "single-class")  # protocols that search as references are calibrated
_DRAWN = (*_DECIDED, "multi-class")
_LOOKED_AT = 15  # references of a category whose proportions are asked for
_GROWN = {  # protocols with more and more references, and what their number is
    "few-shot": "references per category, Y",
    "single-class-scaling": "share of a category's references, τ",
    "multi-class-scaling": "share of every category's references, τ",
    "incremental": "share of the new category's references, τ",
}


@dataclass(frozen=True)
class EvaluationOptions:
    """What the command line chose. None stands for the data set's preset.

    encoders: only `encoders` as a protocol looks at more than the first. sized: whether their sizes were chosen.
    draws: of references, for protocols that search a part of them. false_reject_rate: what thresholds are made for.
    plots: whether to draw any. balance_layers: whether layers weigh as the references say, see `Search`.
    advised_rho: whether categories whose good parts seem to lie anywhere are compared with all places. cells:
    None inspects images as the preset does; else all of each, on a grid of at most so many. cluster: the address of a
    Ray cluster that reads and encodes the images, see `indexer.cluster.connected`; None: this machine does.
    """

    folder: Path
    out: Path
    protocols: tuple[Protocol, ...]
    encoders: tuple[EncoderSettings, ...]
    codec: str
    layout: Layout | None = None
    categories: tuple[str, ...] = ()
    sized: bool = False
    k: int | None = None
    rho: int | None = None
    draws: Draws = field(default_factory=Draws)
    false_reject_rate: float = 0.01
    plots: bool = True
    balance_layers: bool = False
    advised_rho: bool = False
    cells: int | None = None
    cluster: str | None = None


def run_evaluation(choices: EvaluationOptions) -> Report:
    """Evaluate, report how far it is, and leave report and cache in `choices.out`.

    Images that cannot be used are left out and named. DatasetError and EncoderError and ClusterError, one line each,
    when nothing can be done; ValueError for choices that make no sense.
    """
    if len(choices.encoders) > 1 and "encoders" not in choices.protocols:
        raise ValueError("several encoders are compared by --protocol encoders only")
    if choices.cells is not None and (pooled := [protocol for protocol in choices.protocols if protocol not in _OWN]):
        raise ValueError(
            f"{pooled[0]} compares all categories, whose images have other proportions: with --geometry choose "
            f"{' or '.join(_OWN)}"
        )
    dataset = read_dataset(choices.folder, choices.layout, choices.categories)
    with nullcontext() if choices.cluster is None else connected(choices.cluster):
        return _run_on(dataset, choices)


def _run_on(dataset: Dataset, choices: EvaluationOptions) -> Report:
    preset = PRESETS[dataset.layout]
    scoring = ScoringSettings(
        preset.scoring.k if choices.k is None else choices.k,
        preset.scoring.rho if choices.rho is None else choices.rho,
    )
    with progress() as shown:
        task = shown.task("looking at images", dataset.files)
        dataset = drop_unusable(dataset, choices.out / "cache", task.advance)
    measured = []
    for settings, protocols in _passes(choices, preset.geometry.resized[0], preset.geometry.size[0]):
        measured.append(_measure(choices, dataset, settings, protocols, scoring))
    report = Report(dataset, tuple(measured), choices.false_reject_rate)
    report.save(choices.out)
    return report


def _passes(choices: EvaluationOptions, resize: int, crop: int) -> list[tuple[EncoderSettings, tuple[Protocol, ...]]]:
    """Each encoder and size that is loaded, with what is done with it."""
    sized = [encoder if choices.sized else replace(encoder, resize=resize, crop=crop) for encoder in choices.encoders]
    main = tuple(protocol for protocol in choices.protocols if protocol != "encoders")
    if "encoders" not in choices.protocols:
        return [(sized[0], main)]
    compared = [choice for settings in sized for choice in dict.fromkeys((settings, _small(settings)))]
    return [(choice, (*main, "encoders") if choice == sized[0] else ("encoders",)) for choice in compared]


def _small(settings: EncoderSettings) -> EncoderSettings:
    return replace(settings, resize=SMALL[0], crop=SMALL[1])


def _measure(
    choices: EvaluationOptions,
    dataset: Dataset,
    settings: EncoderSettings,
    protocols: Sequence[Protocol],
    scoring: ScoringSettings,
) -> Measured:
    encoder = load_encoder(settings)
    lines = list[Variant]()
    for protocol in protocols:
        lines += variants(protocol, dataset, scoring, encoder.space, choices.draws)
    with progress() as shown, Cores() as cores:
        size = encoder.space.global_geometry.size[0] if choices.cells is None else f"{choices.cells} cells"
        name = f"{encoder.space.encoder} {size}"
        encoding = shown.task(f"{name}: references", len(dataset.references))
        parallel = cores.encoding(encoder)
        here = LocalEncoding(parallel)
        images = here if choices.cluster is None else _on_cluster(settings, encoder)
        cache = FeatureCache(choices.out / "cache", images, choices.codec)
        geometries = {} if choices.cells is None else whole_images(dataset, choices.cells, encoder.space.patch)
        memory, digests = cache.memory_of(dataset.references, encoding.advance, geometries)
        anywhere = _anywhere(memory, dataset.categories, scoring)
        lines = [replace(line, search=_chosen(line.search, choices, anywhere)) for line in lines]
        engine = cores.searching(choose_engine(encoder.device), encoder.device)
        subject = Subject(dataset, images, engine, memory, digests)
        judging = shown.task(f"{name}: {', '.join(protocols)}", len(dataset.samples))
        outcomes = evaluate(subject, lines, choices.out / "cache" / "outcomes", judging.advance)
        decided = tuple[CategoryDecisions, ...]()
        if (main := _first(outcomes, _DECIDED)) is not None:
            decided = _decide(choices, subject, main, shown)
        if choices.plots:
            with rc_context({"text.parse_math": False}):  # a name may hold dollars
                if (drawn := _first(outcomes, _DRAWN)) is not None:
                    _draw(choices.out / "plots", replace(subject, encoding=here), drawn, decided, shown)
                _draw_growth(choices.out / "plots", outcomes)
    return Measured(encoder.space, choices.codec, scoring, tuple(outcomes), decided, choices.cells, anywhere)


def _anywhere(memory: MemoryBank, categories: Sequence[str], scoring: ScoringSettings) -> tuple[str, ...]:
    """The categories that the service would advise to compare with all places."""
    measured = {category: run_to_end(measure_alignment(memory, category, scoring)) for category in categories}
    return tuple(name for name, alignment in measured.items() if alignment and alignment.advice(scoring.rho))


def _chosen(search: Search, choices: EvaluationOptions, anywhere: Sequence[str]) -> Search:
    """A search of the protocols, with what was chosen for all of them."""
    if choices.balance_layers:
        search = search.balancing()
    return search.comparing_anywhere(anywhere) if choices.advised_rho else search


def _on_cluster(settings: EncoderSettings, encoder: Encoder) -> ImageEncoding:
    from indexer.evaluation.ray_encoding import RayEncoding  # Ray is an extra

    return RayEncoding(settings, encoder)


def whole_images(dataset: Dataset, cells: int, patch: int) -> dict[str, InputGeometry]:
    """Every category's geometry: all of its images, in the proportions that its references mostly have."""
    geometries = {}
    for category in dataset.categories:
        paths = [reference.path for reference in dataset.references if reference.category == category][:_LOOKED_AT]
        shapes = [decode_image(path).shape for path in paths]
        geometries[category] = choose_geometry(median(width / height for height, width, _ in shapes), cells, patch)
    return geometries


def _first(outcomes: Sequence[Outcome], protocols: Sequence[str]) -> Outcome | None:
    """The outcome of the first of these protocols that was carried out."""
    return next((outcome for name in protocols for outcome in outcomes if outcome.variant.protocol == name), None)


def _decide(
    choices: EvaluationOptions, subject: Subject, main: Outcome, shown: Progress
) -> tuple[CategoryDecisions, ...]:
    """The main outcome against the thresholds that the references alone give."""
    task = shown.task("thresholds from the references", len(main.categories))
    decided = []
    search = main.variant.search
    for category in decide_categories(
        subject.dataset, subject.memory, subject.engine, search, choices.false_reject_rate, main
    ):
        decided.append(category)
        task.advance()
    return tuple(decided)


def _draw(folder: Path, subject: Subject, main: Outcome, decided: Sequence[CategoryDecisions], shown: Progress) -> None:
    """The images of the main outcome."""
    folder.mkdir(parents=True, exist_ok=True)
    thresholds = {
        decided_category.category: decided_category.threshold
        for decided_category in decided
        if decided_category.threshold is not None
    }
    draw_ranking(subject.dataset, main, folder / "ranking.png")
    draw_histograms(subject.dataset, main, thresholds, folder / "histograms.png")
    task = shown.task("contact sheets", len(main.categories))
    for name, judged in main.categories.items():
        if judged.scores:
            draw_sheet(subject, main, name, thresholds.get(name), folder / f"sheet-{name}.png")
        task.advance()


def _draw_growth(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """The curves of protocols with more and more references, where they were measured."""
    for protocol, label in _GROWN.items():
        grown = [outcome for outcome in outcomes if outcome.variant.protocol == protocol]
        if grown:
            folder.mkdir(parents=True, exist_ok=True)
            draw_growth(grown, label, folder / f"{protocol}.png")
