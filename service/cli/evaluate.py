"""`touchstone evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from indexer.cli.options import Ray, fail, printer, read_settings
from indexer.domain.geometry import MAX_CELLS
from indexer.domain.scoring_settings import check_radius

Name = TypeVar("Name", bound=str)

_ADVISED = "advised"  # of ρ: what the references say

HELP = """Measure detection and localisation on a labelled data set, in the paper's protocols.

FOLDER contains MVTec-AD, VisA, Real-IAD, 3D-ADAM, or your own images as <category>/train/good, <category>/test/good,
<category>/test/<defect> and optionally masks as <category>/ground_truth/<defect>. The data set type is detected from
the folders, and sets K, ρ and the image sizes; options override them.

\b
Protocols (--protocol, repeatable):
  multi-class   one memory of all categories, no labels (the paper's main table)
  recognised    each image against the category of its most similar reference, as in a request without a category
  single-class  each category against its own references
  few-shot      Y = 1, 2, 4, 8, 16 references of every category, pooled (table A1); --shots for others
  single-class-scaling, multi-class-scaling
                a share τ = 0.05 … 1 of the references, each category alone or pooled (table 2)
  incremental   fixed categories, and a share τ = 0.01 … 1 of a new one's references: the new one's figures (table 2);
                --fixed and --new choose them
  onboarding    the first half of the categories, then one more at a time
  ablation      the last layer or all, with and without global retrieval and place (table A4); slow on a CPU
  sensitivity   each layer alone, K, ρ; slow on a CPU
  encoders      every --encoder at its size and at 256 → 224 (table A2)

If a run has the paper's settings (encoder, sizes, K, ρ, all categories), the report compares with the paper's figures.

The report (report.md, .csv, .json), plots and the cache are written to --out. Run again to resume: encoded references
and finished categories are read from the cache.

With --ray, nodes of a Ray cluster read and encode the images, and this command does the rest, with the same figures.
FOLDER and encoder must have the same paths on every node: see docs/scale.md.

Images that cannot be decoded are left out and listed. Exit code: 0 everything was used; 1 something was left out; 2
nothing was evaluated.

\b
Examples:
  touchstone evaluate mvtec_anomaly_detection --encoder timm:vit_base_patch16_dinov3.lvd1689m
  touchstone evaluate my-parts --protocol few-shot --protocol multi-class-scaling --seeds 5
"""


def evaluate(
    folder: Annotated[Path, typer.Argument(help="The data set.", show_default=False)],
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Protocol, see above; repeatable (default: multi-class and recognised)."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report and the cache.")] = Path("touchstone-evaluation"),
    dataset: Annotated[
        str | None, typer.Option(help="mvtec-ad, visa, real-iad, 3d-adam or folder (default: detected).")
    ] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only this category; repeatable.")] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Encoder, as for serve; repeatable for --protocol encoders (default: builtin)."),
    ] = None,
    resize: Annotated[
        int | None, typer.Option(help="Side in pixels that images are resized to (default: 512).")
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Side in pixels of the centre crop (default: 448).")] = None,
    geometry: Annotated[
        str,
        typer.Option(
            help="paper (resize and crop), or a maximum number of cells: the whole image, single-class protocols only."
        ),
    ] = "paper",
    k: Annotated[
        int | None,
        typer.Option(help="K, references retrieved per image (default: 150; VisA and Real-IAD 900; 3D-ADAM 48)."),
    ] = None,
    rho: Annotated[
        str | None,
        typer.Option(
            help="ρ, search radius in cells: 0 to 16, 255 for all places, or advised: all places for categories whose "
            "references seem to lie anywhere (default: 1; VisA 2; Real-IAD 0)."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of random draws of references, for few-shot, scaling and incremental.")
    ] = 3,
    shots: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="References per category in few-shot; repeatable (default: 1, 2, 4, 8, 16).", show_default=False
        ),
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option(help="A category that incremental starts with; repeatable (default: the paper's)."),
    ] = None,
    new: Annotated[str | None, typer.Option(help="The category that incremental adds (default: the paper's).")] = None,
    codec: Annotated[
        str | None, typer.Option(help="How patches are stored: fp32, fp16, bf16, int8 or int4 (default: fp16).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N (default: auto).")] = None,
    false_reject_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of good parts that the reported thresholds may reject.")
    ] = 0.01,
    balance_layers: Annotated[
        bool,
        typer.Option(
            "--balance-layers",
            help="Weight layers as the service does, in searches of one category (default: equally, as in the paper).",
        ),
    ] = False,
    plots: Annotated[bool, typer.Option(help="Draw curves, histograms and contact sheets.")] = True,
    ray: Ray = None,
) -> None:
    """See `HELP`."""
    from indexer.settings import DataSettings

    settings = read_settings(
        DataSettings, encoder=encoder[0] if encoder else None, resize=resize, crop=crop, codec=codec, device=device
    )
    try:
        import matplotlib  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        fail(f"touchstone evaluate needs {error.name}: pip install 'touchstone[evaluate]'")
    from indexer.domain.errors import ClusterError, EncoderError
    from indexer.evaluation.dataset import DatasetError
    from indexer.evaluation.job import EvaluationOptions, run_evaluation
    from indexer.evaluation.protocols import PROTOCOLS, SHOTS, Draws, Protocol
    from indexer.evaluation.readers import LAYOUTS
    from indexer.memory import DEFAULT_CODEC

    loaded = replace(settings.encoder_settings, converted=None)  # an evaluation has no data folder to keep it in
    default: list[Protocol] = ["multi-class", "recognised"] if geometry == "paper" else ["single-class"]
    try:
        choices = EvaluationOptions(
            folder=folder,
            out=out,
            protocols=tuple(dict.fromkeys(one_of(PROTOCOLS, text, "protocol") for text in protocol or default)),
            encoders=tuple(replace(loaded, model=name) for name in encoder or [settings.encoder]),
            codec=settings.codec or DEFAULT_CODEC,
            layout=one_of(LAYOUTS, dataset, "dataset") if dataset else None,
            categories=tuple(category or ()),
            sized=settings.sized,
            k=k,
            rho=_radius(rho),
            advised_rho=rho == _ADVISED,
            draws=Draws(seeds, tuple(sorted(set(shots or SHOTS))), tuple(dict.fromkeys(fixed or ())), new),
            false_reject_rate=false_reject_rate,
            plots=plots,
            balance_layers=balance_layers,
            cells=_cells(geometry),
            cluster=ray,
        )
        console = printer()
        report = run_evaluation(choices)
        report.show(console)
        console.print(f"Written to {out}: report.md, report.csv, report.json{', plots' * plots}")
    except (EncoderError, DatasetError, ClusterError, OSError, ValueError) as error:
        fail(error)
    if report.dataset.left_out:
        raise typer.Exit(1)


def _radius(rho: str | None) -> int | None:
    """A search radius that the service takes, too, whatever the grid; None for the data set's. ValueError."""
    if rho is None or rho == _ADVISED:
        return None
    if not rho.isdecimal():
        raise ValueError(f"--rho is a number of cells or {_ADVISED}, not {rho!r}")
    check_radius(int(rho), (1, 1))
    return int(rho)


def _cells(geometry: str) -> int | None:
    """The cells of a grid that were asked for, None for the paper's preset. ValueError."""
    if geometry == "paper":
        return None
    if not geometry.isdecimal() or not 1 <= int(geometry) <= MAX_CELLS:
        raise ValueError(f"--geometry is paper, or a number of cells from 1 to {MAX_CELLS}, not {geometry!r}")
    return int(geometry)


def one_of(names: Sequence[Name], text: str, what: str) -> Name:
    """The name that was given, if it is one of these. ValueError names the choices otherwise."""
    for name in names:
        if name == text:
            return name
    raise ValueError(f"unknown {what} {text!r}: choose one of {', '.join(names)}")
