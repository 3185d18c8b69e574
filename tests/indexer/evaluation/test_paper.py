"""The paper's figures stand beside ours where the run is the paper's, and nowhere else."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer.encoders import FeatureSpace, InputGeometry
from indexer.evaluation import paper
from indexer.evaluation.dataset import Dataset, Reference, Sample
from indexer.evaluation.measured import Measured
from indexer.evaluation.metrics import FIGURES, Figures
from indexer.evaluation.presets import PRESETS
from indexer.evaluation.protocols import PROTOCOLS, Draws, Protocol, variants
from indexer.evaluation.readers import mvtec as mvtec_reader
from indexer.evaluation.readers import visa as visa_reader
from indexer.evaluation.report import Report
from indexer.evaluation.run import CategoryOutcome, Outcome

REFERENCES = {
    "bottle": 209,
    "cable": 224,
    "capsule": 219,
    "carpet": 280,
    "grid": 264,
    "hazelnut": 391,
    "leather": 245,
    "metal_nut": 220,
    "pill": 267,
    "screw": 320,
    "tile": 230,
    "toothbrush": 60,
    "transistor": 213,
    "wood": 247,
    "zipper": 240,
}
DINOV3 = FeatureSpace(
    "timm:vit_base_patch16_dinov3.lvd1689m",
    ("layer 4", "layer 7", "layer 10", "layer 12"),
    16,
    768,
    768,
    InputGeometry.paper(512, 448),
    "0" * 64,
)
OURS = Figures(0.99, 0.98, 0.97, 0.96, 0.75, 0.74, 0.93, aupro_sampled=0.95)


TABLE_2 = ["RAD, table 2", "Dinomaly, table 2"]


def mvtec(**counts: int) -> Dataset:
    """MVTec-AD with as many references as it has, or as are given; none leaves a category out."""
    counts = {name: count for name, count in (REFERENCES | counts).items() if count}
    references = [Reference(Path(f"{name}/{row}.png"), name) for name, count in counts.items() for row in range(count)]
    samples = [
        Sample(Path(f"{name}/test/{row}.png"), name, "good" if row % 2 else "cut")
        for name in counts
        for row in range(115)  # 1725 in all
    ]
    return Dataset("mvtec-ad", Path("."), tuple(references), tuple(samples))


def report(dataset: Dataset, *protocols: Protocol, space: FeatureSpace = DINOV3, **scoring: Any) -> Report:
    """What a run gives in which every category has the same figures."""
    set_ = replace(PRESETS["mvtec-ad"].scoring, **scoring)
    lines = [line for protocol in protocols for line in variants(protocol, dataset, set_, space, Draws(seeds=1))]
    judged = CategoryOutcome(OURS, (), ())
    outcomes = tuple(
        Outcome(line, 1, {name: judged for name in dataset.categories if line.judges(name)}) for line in lines
    )
    return Report(dataset, (Measured(space, "fp16", set_, outcomes, ()),), 0.01)


def pooled(**changes: Any) -> Report:
    return report(mvtec(), "multi-class", **changes)


def test_every_figure_belongs_to_a_line_that_our_reports_have() -> None:
    stored = json.loads(Path(paper.__file__).with_name("paper.json").read_text())
    assert "2601.22763" in stored["source"]
    whole = mvtec()
    settings = {
        protocol: {line.setting for line in variants(protocol, whole, PRESETS["mvtec-ad"].scoring, DINOV3, Draws())}
        for protocol in PROTOCOLS
    }
    settings["multi-class"] = {*whole.categories, "mean"}
    settings["encoders"] = {f"{name}, {size}" for name in stored["encoders"] for size in ("512 → 448", "256 → 224")}
    for row in stored["figures"]:
        assert len(row["figures"]) == len(FIGURES)
        assert all(value is None or 0 < value <= 100 for value in row["figures"])
        assert row["method"] in ("RAD", "Dinomaly")
        if row["dataset"] == "mvtec-ad":
            assert row["line"] in settings[row["protocol"]], row
    keys = [(row["table"], row["dataset"], row["protocol"], row["line"], row["method"]) for row in stored["figures"]]
    assert len(set(keys)) == len(keys)
    lines = {(row["dataset"], row["line"]) for row in stored["figures"] if row["protocol"] == "multi-class"}
    named = {layout: {name for dataset, name in lines if dataset == layout} - {"mean"} for layout in PRESETS}
    assert named["mvtec-ad"] == mvtec_reader.CATEGORIES
    assert named["visa"] == visa_reader.CATEGORIES
    assert len(named["real-iad"]) == 30


def test_the_means_are_those_of_the_categories_where_all_could_be_read() -> None:
    """Holds the transcription: a misread row would move its column's mean away from the printed one."""
    stored = json.loads(Path(paper.__file__).with_name("paper.json").read_text())["figures"]
    checked = 0
    for layout in ("mvtec-ad", "visa", "real-iad"):
        for method in ("RAD", "Dinomaly"):
            rows = {
                row["line"]: row["figures"]
                for row in stored
                if (row["dataset"], row["method"]) == (layout, method) and row["table"].startswith("tables A")
            }
            mean = rows.pop("mean")
            for column in range(len(FIGURES)):
                values = [figures[column] for figures in rows.values()]
                if None not in (*values, mean[column]):
                    assert sum(values) / len(values) == pytest.approx(mean[column], abs=0.25), (layout, method, column)
                    checked += 1
    assert checked == 34


def test_a_run_of_the_papers_has_its_figures_beside_ours_for_every_category_and_the_mean() -> None:
    [table] = report(mvtec(), "multi-class").tables()
    rows = {row[0]: row[1:] for row in table.rows()[:3]}
    assert table.heads[-2:] == ("AUPRO", "AUPRO-200")
    assert rows["bottle"] == ["99.0", "98.0", "97.0", "96.0", "75.0", "74.0", "93.0", "95.0"]
    # Theirs, and how far ours is above it; AUPRO against ours sampled as theirs is.
    assert rows["– RAD, tables A5 and A6"] == [
        "100.0 (-1.0)",
        "100.0 (-2.0)",
        "100.0 (-3.0)",
        "98.9 (-2.9)",
        "88.5 (-13.5)",
        "80.8 (-6.8)",
        "–",
        "96.6 (-1.6)",
    ]
    assert rows["– Dinomaly, tables A5 and A6"][-1] == "96.6 (-1.6)"
    labels = [row[0] for row in table.rows()]
    assert len(labels) == 15 * 3 + 1 + 4
    assert labels[-4:] == [
        "– RAD, tables A5 and A6",
        "– Dinomaly, tables A5 and A6",
        "– RAD, table 1",
        "– Dinomaly, table 1",
    ]
    assert table.rows()[-2][-1] == "94.9 (+0.1)"


def test_runs_on_whole_images_have_no_figures_of_the_paper() -> None:
    dataset = mvtec()
    [cropped] = report(dataset, "single-class").measured
    assert not cropped.differences(dataset, "single-class")
    whole = replace(cropped, cells=784)
    assert whole.differences(dataset, "single-class") == ("whole images on at most 784 cells",)


@pytest.mark.parametrize(
    ("protocol", "line", "papers", "cells"),
    [
        ("few-shot", "Y = 2", ["RAD, table A1"], {4: "97.3 (-1.3)", 8: "93.0 (+2.0)"}),
        ("single-class-scaling", "τ = 0.2", TABLE_2, {1: "98.8 (+0.2)", 8: "95.4 (-0.4)"}),
        ("multi-class-scaling", "τ = 0.05", TABLE_2, {5: "67.9 (+7.1)"}),
        ("incremental", "τ = 0.01", TABLE_2, {1: "82.3 (+16.7)"}),
        ("ablation", "all layers", ["RAD, table A4"], {5: "74.0 (+1.0)", 6: "70.0 (+4.0)", 1: "–"}),
        ("single-class", "mean", TABLE_2, {1: "99.6 (-0.6)"}),
    ],
)
def test_every_protocol_of_the_paper_has_its_lines(
    protocol: Protocol, line: str, papers: list[str], cells: dict[int, str]
) -> None:
    [table] = report(mvtec(), protocol).tables()
    rows = table.rows()
    start = [row[0] for row in rows].index(line)
    beside = rows[start + 1 : start + 1 + len(papers)]
    assert [row[0] for row in beside] == [f"– {paper}" for paper in papers]
    for column, cell in cells.items():
        assert beside[0][column] == cell
    assert not any(fact.startswith("No figures of the paper") for fact in report(mvtec(), protocol).facts())


def small(space: FeatureSpace) -> FeatureSpace:
    return replace(space, global_geometry=InputGeometry.paper(256, 224))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: pooled(space=replace(DINOV3, encoder="mine")), "encoder mine, not DINOv3 ViT-B"),
        (lambda: pooled(space=replace(DINOV3, layers=("layer 12",))), "layer 12, not 4, 7, 10"),
        (lambda: pooled(space=small(DINOV3)), "256 → 224 pixels, not 512 → 448"),
        (lambda: pooled(k=48), "K = 48, ρ = 1, not 150 and 1"),
        (lambda: pooled(rho=2), "K = 150, ρ = 2, not 150 and 1"),
        (lambda: report(mvtec(zipper=0), "multi-class"), "14 of 15 categories; 3389 of 3629 references; 1610 of 1725"),
        (lambda: report(mvtec(screw=300), "few-shot"), "3609 of 3629 references"),
        (lambda: report(mvtec(carpet=0), "incremental"), "transistor is not the new category, added to carpet"),
        (lambda: report(mvtec(transistor=100), "incremental"), "not all their references"),
        (lambda: report(mvtec(), "onboarding"), "it has no such runs of MVTec-AD"),
        (lambda: report(replace(mvtec(), layout="folder"), "multi-class"), "it has none of this data set"),
        (lambda: report(mvtec(), "encoders", space=replace(DINOV3, encoder="mine")), "not one of table A2's"),
    ],
)
def test_any_other_run_says_in_one_line_what_differs_and_shows_none_of_them(
    change: Callable[[], Report], says: str
) -> None:
    made = change()
    [line] = [fact for fact in made.facts() if fact.startswith("No figures of the paper beside ")]
    assert says in line
    assert not any(table.beside_the_paper for table in made.tables())
    assert "RAD" not in made.markdown()


def test_incremental_needs_its_five_categories_only() -> None:
    others = dict.fromkeys(set(REFERENCES) - {"carpet", "metal_nut", "toothbrush", "leather", "transistor"}, 0)
    [table] = report(mvtec(**others), "incremental").tables()
    assert table.beside_the_paper


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("timm:vit_base_patch16_dinov3.lvd1689m", "DINOv3"),
        ("vit_base_patch16_dinov3.lvd1689m", "DINOv3"),  # a folder that was fetched
        ("facebook/dinov3-vitb16-pretrain-lvd1689m", "DINOv3"),
        ("dinov3_vitb16_pretrain_lvd1689m-73cec8be", "DINOv3"),
        ("timm:vit_base_patch16_224.mae", "MAE"),
        ("timm:vit_small_patch16_dinov3.lvd1689m", None),
        ("vit", None),
    ],
)
def test_an_encoder_is_known_by_the_names_its_weights_are_published_under(name: str, row: str | None) -> None:
    space = replace(DINOV3, encoder=name)
    assert paper.encoder_line(space) == f"{row}, 512 → 448"


def test_encoders_stand_beside_table_a2_at_both_sizes() -> None:
    spaces = [replace(DINOV3, encoder="facebook/dino-vitb16"), small(DINOV3)]
    both = [report(mvtec(), "encoders", space=space).measured[0] for space in spaces]
    [table] = Report(mvtec(), tuple(both), 0.01).tables()
    rows = table.rows()
    assert [row[0] for row in rows][1::2] == ["– RAD, table A2"] * 2
    assert rows[1][5] == "73.8 (+1.2)"
    assert rows[3][5] == "69.2 (+5.8)"


def test_what_stands_beside_the_paper_is_a_file_of_its_own(tmp_path: Path) -> None:
    report(mvtec(), "multi-class").save(tmp_path)
    with (tmp_path / "paper.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["line"] == "bottle"
    assert rows[0]["paper"] == "RAD, tables A5 and A6"
    [pro] = [
        row for row in rows if row["line"] == "mean" and row["paper"] == "RAD, table 1" and "aupro" in row["figure"]
    ]
    assert (pro["figure"], float(pro["reported"]), float(pro["ours"])) == ("aupro_sampled", 0.949, pytest.approx(0.95))
    report(mvtec(), "multi-class", k=48).save(tmp_path)
    assert not (tmp_path / "paper.csv").exists()
