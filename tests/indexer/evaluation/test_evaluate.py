"""A whole evaluation: figures, resuming, reuse of what was encoded, reports and images."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from indexer.domain.scoring_settings import ANYWHERE, ScoringSettings
from indexer.encoders import EncoderSettings, load_encoder
from indexer.encoders.base import Encoder, Features
from indexer.evaluation import job
from indexer.evaluation.dataset import DatasetError
from indexer.evaluation.encoding import LocalEncoding
from indexer.evaluation.features import FeatureCache
from indexer.evaluation.job import EvaluationOptions, run_evaluation
from indexer.evaluation.protocols import NEW_SHARES, PROTOCOLS, SHARES, SHOTS, Draws, share_of, variants
from indexer.evaluation.readers import read_dataset
from indexer.evaluation.report import Report
from indexer.imaging.encode import encode_png
from tests.helpers import trees
from tests.helpers.part_images import displaced

SMALL = EncoderSettings("filterbank", resize=128, crop=112, device="cpu")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.mvtec(tmp_path_factory.mktemp("parts"), ("bottle", "zipper"), references=8, tests=3)


def run(tree: Path, out: Path, *protocols: str, **more: object) -> Report:
    choices = EvaluationOptions(tree, out, protocols or ("multi-class",), (SMALL,), "fp16", sized=True, **more)  # type: ignore[arg-type]
    return run_evaluation(choices)


class Counting:
    """An encoder that counts the images it is given."""

    def __init__(self, inner: Encoder) -> None:
        self.space, self.device, self._inner = inner.space, inner.device, inner
        self.max_pass_cells = inner.max_pass_cells
        self.seen = 0
        self.stop_after: int | None = None

    def encode(self, batch: torch.Tensor) -> Features:
        self.seen += len(batch)
        if self.stop_after is not None and self.seen > self.stop_after:
            raise KeyboardInterrupt
        return self._inner.encode(batch)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    encoder = Counting(load_encoder(SMALL))
    monkeypatch.setattr(job, "load_encoder", lambda settings: encoder)
    return encoder


def test_defects_are_separated_from_good_parts_and_every_report_format_is_written(tree: Path, tmp_path: Path) -> None:
    report = run(tree, tmp_path)
    [outcome] = report.measured[0].outcomes
    assert outcome.references == 16
    assert outcome.mean.image_auroc is not None
    assert outcome.mean.image_auroc > 0.9
    assert outcome.mean.pixel_auroc is not None
    assert outcome.mean.pixel_auroc > 0.8

    text = (tmp_path / "report.md").read_text()
    assert report.measured[0].space.fingerprint[:12] in text
    assert "No figures of the paper beside multi-class: encoder touchstone-filterbank, not DINOv3 ViT-B/16" in text

    stored = json.loads((tmp_path / "report.json").read_text())
    [variant] = stored["measured"][0]["variants"]
    assert variant["mean"]["image_auroc"] == outcome.mean.image_auroc
    assert len(variant["categories"]["bottle"]["scores"]) == len(stored["samples"]["bottle"]) == 6
    with (tmp_path / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["category"] for row in rows] == ["bottle", "zipper", "mean"]
    assert float(rows[2]["aupro"]) == outcome.mean.aupro

    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"ranking.png", "histograms.png", "sheet-bottle.png", "sheet-zipper.png"}


def test_masks_of_which_nothing_is_left_are_named(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "parts", ("bottle",), references=4, tests=3)
    border, empty = np.zeros(trees.SIZE, np.uint8), np.zeros(trees.SIZE, np.uint8)
    border[:5] = 1  # cut off by 128 → 112
    for name, mask in (("000_mask.png", border), ("001_mask.png", empty)):
        (tree / "bottle/ground_truth/scratch" / name).write_bytes(encode_png(mask))
    for out in (tmp_path / "out", tmp_path / "out"):  # the second time from what the first one kept
        report = run(tree, out, plots=False)
        assert report.measured[0].lost_masks == tuple(
            f"bottle/ground_truth/scratch/{name}" for name in ("000_mask.png", "001_mask.png")
        )
        assert "Of 2 masks nothing is left (128 → 112 pixels)" in (out / "report.md").read_text()


def test_the_report_says_what_its_means_leave_out(tmp_path: Path) -> None:
    trees.mvtec(tmp_path / "parts", ("bottle", "pill", "zipper"), references=2, tests=1)
    for gone in ("bottle/ground_truth", "pill/test/good", "zipper/test/scratch", "zipper/ground_truth"):
        shutil.rmtree(tmp_path / "parts" / gone)
    report = run(tmp_path / "parts", tmp_path / "out", plots=False)
    assert report.facts()[1:4] == [
        "No good test images: no image figures of pill, and none in the means.",
        "No defective test images: no figures of zipper, and none in the means.",
        "No masks: no pixel figures of bottle, zipper, and none in the means.",
    ]
    [outcome] = report.measured[0].outcomes
    assert outcome.mean.image_auroc == outcome.categories["bottle"].figures.image_auroc
    assert outcome.mean.pixel_auroc == outcome.categories["pill"].figures.pixel_auroc


def test_thresholds_are_those_of_the_references_and_count_the_test_images(tree: Path, tmp_path: Path) -> None:
    report = run(tree, tmp_path, "multi-class", "recognised", plots=False, false_reject_rate=0.4)
    _, outcome = report.measured[0].outcomes
    assert not (tmp_path / "plots").exists()
    assert len(report.measured[0].decisions) == 2
    for decided in report.measured[0].decisions:
        scores = outcome.categories[decided.category].scores
        assert decided.recognised == 6
        assert decided.threshold is not None
        assert decided.rate_supported  # for 2 references or more that are not each other's duplicates
        assert decided.rejected + decided.detected == sum(score > decided.threshold for score in scores)
        assert (decided.good, decided.defective) == (3, 3)
    assert "for 40 % false rejects" in report.markdown()


def test_a_category_with_one_reference_has_no_threshold(tmp_path: Path) -> None:
    trees.mvtec(tmp_path / "parts", references=1, tests=1)
    report = run(tmp_path / "parts", tmp_path / "out", "recognised", plots=True)
    assert [decided.threshold for decided in report.measured[0].decisions] == [None, None]
    assert "| disc | none with fewer than two references | – | – | 2 of 2 |" in report.markdown()


def test_a_second_run_encodes_nothing_and_says_the_same(tree: Path, tmp_path: Path, counting: Counting) -> None:
    first = run(tree, tmp_path, plots=False)
    assert counting.seen == 16 + 12
    second = run(tree, tmp_path, plots=False)
    assert counting.seen == 16 + 12
    assert second.measured == first.measured


def test_another_protocol_encodes_the_samples_again_but_no_reference(
    tree: Path, tmp_path: Path, counting: Counting
) -> None:
    run(tree, tmp_path, plots=False)
    run(tree, tmp_path, "multi-class", "single-class", plots=False)
    assert counting.seen == 16 + 12 + 12


def test_a_run_that_was_stopped_goes_on_where_it_was(tree: Path, tmp_path: Path, counting: Counting) -> None:
    whole = run(tree, tmp_path / "whole", plots=False)
    counting.seen, counting.stop_after = 0, 16 + 6 + 1  # in the second category
    with pytest.raises(KeyboardInterrupt):
        run(tree, tmp_path / "stopped", plots=False)
    counting.seen, counting.stop_after = 0, None
    resumed = run(tree, tmp_path / "stopped", plots=False)
    assert counting.seen == 6
    assert resumed.measured == whole.measured


def test_a_damaged_segment_of_the_cache_is_encoded_anew(tree: Path, tmp_path: Path) -> None:
    dataset, encoder = read_dataset(tree), Counting(load_encoder(SMALL))
    before, digests = FeatureCache(tmp_path, LocalEncoding(encoder), "fp16").memory_of(
        dataset.references, lambda count: None
    )
    [segment] = tmp_path.glob("*/segments/*.segment")
    data = bytearray(segment.read_bytes())
    data[-5] ^= 1
    segment.write_bytes(data)
    counted = list[int]()
    after, encoded_again = FeatureCache(tmp_path, LocalEncoding(encoder), "fp16").memory_of(
        dataset.references, counted.append
    )
    assert encoder.seen == 32
    assert sum(counted) == 16
    assert encoded_again == digests
    assert all(torch.equal(before.codes_of(row), after.codes_of(row)) for row in range(16))


def test_a_damaged_index_of_the_cache_costs_only_what_it_no_longer_names(tree: Path, tmp_path: Path) -> None:
    dataset, encoder = read_dataset(tree), Counting(load_encoder(SMALL))
    FeatureCache(tmp_path, LocalEncoding(encoder), "fp16").memory_of(dataset.references[:4], lambda count: None)
    [index] = tmp_path.glob("*/index.jsonl")
    with index.open("ab") as file:
        file.write(b'\xff\x00\x00\n[]\n{"segment": {"name": 1}}\n{"segment": {"na')
    FeatureCache(tmp_path, LocalEncoding(encoder), "fp16").memory_of(dataset.references, lambda count: None)
    assert encoder.seen == 16
    FeatureCache(tmp_path, LocalEncoding(encoder), "fp16").memory_of(dataset.references, lambda count: None)
    assert encoder.seen == 16


def test_a_changed_image_is_judged_anew(tmp_path: Path, counting: Counting) -> None:
    tree = trees.mvtec(tmp_path / "data", references=3, tests=2)
    run(tree, tmp_path / "out", plots=False)
    trees.put(tree / "disc/test/good/000.png", (tree / "disc/test/scratch/000.png").read_bytes())
    trees.put(tree / "plate/train/good/000.png", (tree / "disc/train/good/000.png").read_bytes())
    counting.seen = 0
    run(tree, tmp_path / "out", plots=False)
    assert counting.seen == 8  # no reference: its bytes are known; every sample: the pooled memory changed


def test_every_protocol_runs_and_has_its_table_and_curves(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "SMALL", (64, 48))
    report = run(tree, tmp_path, *PROTOCOLS, draws=Draws(seeds=2))
    titles = [table.title.split(":")[0] for table in report.tables()]
    assert titles == [
        "Multi-class",
        "As the service searches without a category",
        "Single-class",
        "Few-shot",
        "Single-class scaling",
        "Multi-class scaling",
        "Incremental",
        "Onboarding",
        "Ablation",
        "Sensitivity",
        "Encoders and resolutions (table A2)",
    ]
    assert {measured.space.global_geometry.size[0] for measured in report.measured} == {112, 48}
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"few-shot.png", "single-class-scaling.png", "multi-class-scaling.png", "incremental.png"} <= drawn
    few_shot = next(table for table in report.tables() if table.title.startswith("Few-shot"))
    assert [line.label for line in few_shot.lines if line.label.startswith("Y")] == [f"Y = {y}" for y in SHOTS]
    assert few_shot.lines[0].spread is not None

    by_setting = {
        (outcome.variant.protocol, outcome.variant.setting): outcome for outcome in report.measured[0].outcomes
    }
    pooled = by_setting["multi-class", "one pooled memory, no labels"]
    known = by_setting["recognised", "the category is recognised, then searched"]
    assert known.mean == by_setting["single-class", "a memory for each category"].mean  # nobody takes one for another
    # The last step of each growing memory is the whole memory.
    assert by_setting["multi-class-scaling", "τ = 1"].mean == pooled.mean
    assert by_setting["onboarding", "+ zipper"].mean == pooled.mean
    assert by_setting["ablation", "all layers, global retrieval, place"].mean == pooled.mean
    assert by_setting["sensitivity", "as set: K = 150, ρ = 1, all layers"].mean == pooled.mean
    # The whole of each category alone is single-class; of the new category, all its references beside the fixed ones.
    assert by_setting["single-class-scaling", "τ = 1"].mean == known.mean
    assert by_setting["incremental", "τ = 1"].categories == {"zipper": pooled.categories["zipper"]}
    assert by_setting["few-shot", "Y = 4"].references == 8


def test_draws_are_the_same_for_a_seed_differ_between_seeds_and_grow(tree: Path) -> None:
    dataset, encoder = read_dataset(tree), load_encoder(SMALL)
    lines = variants("few-shot", dataset, ScoringSettings(), encoder.space, Draws(seeds=2))
    assert lines == variants("few-shot", dataset, ScoringSettings(), encoder.space, Draws(seeds=2))
    drawn = {(line.setting, line.seed): set(line.search.references or ()) for line in lines}
    assert drawn["Y = 4", 0] != drawn["Y = 4", 1]
    assert drawn["Y = 1", 0] < drawn["Y = 2", 0] < drawn["Y = 4", 0] < drawn["Y = 8", 0]
    for line in lines:
        names = [dataset.references[index].category for index in line.search.references or ()]
        assert names.count("bottle") == names.count("zipper") == min(8, int(line.setting.removeprefix("Y = ")))


def test_a_search_never_sees_references_it_does_not_name(tree: Path, tmp_path: Path) -> None:
    report = run(tree, tmp_path, "multi-class", "onboarding", plots=False)
    first = next(outcome for outcome in report.measured[0].outcomes if outcome.variant.setting == "1 categories")
    assert tuple(first.categories) == ("bottle",)
    alone = run(tree, tmp_path / "alone", categories=("bottle",), plots=False).measured[0].outcomes[0]
    # Searches that share a product differ from one alone in the last bit.
    assert first.categories["bottle"].scores == pytest.approx(alone.categories["bottle"].scores, abs=1e-6)
    assert first.categories["bottle"].nearest == alone.categories["bottle"].nearest


def test_shares_are_rounded_down_as_in_the_paper_and_never_to_none() -> None:
    assert share_of(213, 0.01) == 2  # of transistor's: "two images"
    assert share_of(60, 0.01) == 1
    assert [share_of(220, share) for share in SHARES] == [11, 22, 44, 88, 176, 220]
    assert [share_of(213, share) for share in NEW_SHARES] == [2, 4, 21, 42, 170, 213]


def test_incremental_adds_a_share_of_the_new_category_to_all_of_the_fixed_ones(tmp_path: Path) -> None:
    names = ("carpet", "leather", "metal_nut", "toothbrush", "transistor", "wood")
    tree = trees.mvtec(tmp_path, names, references=10, tests=1)
    dataset, space = read_dataset(tree), load_encoder(SMALL).space

    def searched(draws: Draws) -> list[dict[str, int]]:
        lines = variants("incremental", dataset, ScoringSettings(), space, draws)
        assert {line.judged for line in lines} == {(draws.new or "transistor",)}
        rows = [[dataset.references[row].category for row in line.search.references or ()] for line in lines]
        return [{name: row_names.count(name) for name in names if name in row_names} for row_names in rows]

    fixed = {"carpet": 10, "leather": 10, "metal_nut": 10, "toothbrush": 10}
    searched_rows = searched(Draws(seeds=1))
    assert searched_rows == [fixed | {"transistor": count} for count in (1, 1, 1, 2, 8, 10)]
    assert searched(Draws(1, fixed=("wood",), new="leather"))[-2] == {"leather": 8, "wood": 10}
    assert searched(Draws(1, new="carpet"))[0] == {**fixed, "carpet": 1}
    for draws, says in ((Draws(new="cup"), "'cup'"), (Draws(fixed=("transistor",)), "that is not the new one")):
        with pytest.raises(ValueError, match=says):
            searched(draws)


def test_an_unknown_category_is_reported_before_anything_is_encoded(
    tree: Path, tmp_path: Path, counting: Counting
) -> None:
    with pytest.raises(ValueError, match="needs the category 'cup'"):
        run(tree, tmp_path, "incremental", draws=Draws(new="cup"))
    assert counting.seen == 0


def test_what_cannot_be_used_is_left_out_and_named_and_the_others_are_evaluated(tmp_path: Path) -> None:
    whole = trees.mvtec(tmp_path / "whole", references=4, tests=2)
    [expected] = run(whole, tmp_path / "expected", plots=False).measured[0].outcomes
    tree = trees.mvtec(tmp_path / "data", references=4, tests=2)
    bad = {
        "disc/train/good/z.png": b"",
        "disc/test/good/z.png": b"no image",
        "disc/test/scratch/z.png": (tree / "disc/test/scratch/000.png").read_bytes()[:500],
        "disc/ground_truth/scratch/z_mask.png": b"never read",
        "bolt/train/good/0.png": b"\0",
        "bolt/test/good/0.png": (tree / "disc/test/good/000.png").read_bytes(),
    }
    for name, data in bad.items():
        trees.put(tree / name, data)
    for out in (tmp_path / "out", tmp_path / "out"):  # the second time from what the first one kept
        report = run(tree, out, plots=False)
        named = {str(left_out.path.relative_to(tree)) for left_out in report.dataset.left_out}
        assert named == {"bolt", *bad} - {"bolt/test/good/0.png"}
        assert report.dataset.categories == ("disc", "plate")
        [outcome] = report.measured[0].outcomes
        assert outcome == expected
        assert "Left out: disc/test/good/z.png: This is not a JPEG" in (out / "report.md").read_text()
        assert len(json.loads((out / "report.json").read_text())["left_out"]) == len(named)


def test_a_sample_without_a_mask_that_can_be_read_still_counts_as_defective(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "data", ("disc",), references=4, tests=2)
    (tree / "disc/ground_truth/scratch/000_mask.png").write_bytes(b"")
    report = run(tree, tmp_path / "out", plots=False)
    assert [left_out.path.name for left_out in report.dataset.left_out] == ["000_mask.png"]
    assert [(sample.mask is None, sample.pixels_known) for sample in report.dataset.samples if sample.defective] == [
        (True, False),
        (False, True),
    ]
    figures = report.measured[0].outcomes[0].mean
    assert figures.image_auroc is not None
    assert figures.pixel_auroc is not None


def test_names_that_are_not_utf8_are_evaluated_and_shown(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "data", ("disc",), references=2, tests=2)
    good, name, category = tree / "disc/test/good", os.fsdecode(b"teil_\xe4.png"), "Schl\u00fcssel $x_{"
    (good / "000.png").rename(good / name)
    (tree / "disc").rename(tree / category)
    shutil.copytree(tree / category, tree / os.fsdecode(b"kat_\xe4"))
    report = run(tree, tmp_path / "out")
    assert report.dataset.categories == (category,)
    assert "kat_\ufffd: The category's name holds bytes that are not UTF-8" in (tmp_path / "out/report.md").read_text()
    stored = json.loads((tmp_path / "out/report.json").read_text())["samples"][category]
    assert name in [Path(entry["path"]).name for entry in stored]


def test_categories_whose_parts_lie_anywhere_are_named_and_compared_with_all_places_if_wanted(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "parts", ("bottle", "nut"), references=6, tests=2)
    for path in (tree / "nut").glob("*/*/*.png"):
        if path.parts[-3] != "ground_truth":
            path.write_bytes(displaced(int(path.stem), scratched=path.parent.name == "scratch"))
    reports = [
        run(tree, tmp_path / f"out{number}", "single-class", plots=False, **more)
        for number, more in enumerate(({}, {"advised_rho": True}, {"rho": ANYWHERE}))
    ]
    near, advised, _ = reports
    assert "Good parts seem to lie anywhere: nut. --rho advised compares" in " ".join(near.facts())
    assert "Compared with all places (ρ = 255), since good parts seem to lie anywhere: nut." in advised.facts()
    scores = [
        {name: category.scores for name, category in report.measured[0].outcomes[0].categories.items()}
        for report in reports
    ]
    assert scores[1] == {"bottle": scores[0]["bottle"], "nut": scores[2]["nut"]}
    assert scores[0]["nut"] != scores[2]["nut"]
    thresholds = [
        {decided.category: decided.threshold for decided in report.measured[0].decisions} for report in reports
    ]
    assert thresholds[1] == {"bottle": thresholds[0]["bottle"], "nut": thresholds[2]["nut"]}


def test_an_unusable_data_set_is_one_line(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "data", ("disc",), references=1, tests=1)
    (tree / "disc/train/good/000.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"no category can be used, since of .*000\.png: This is not a JPEG"):
        run(tree, tmp_path / "out")


def test_the_whole_of_each_image_is_inspected_in_its_categorys_proportions(tmp_path: Path) -> None:
    tree = trees.mvtec(tmp_path / "parts", ("bottle", "zipper"), references=6, tests=2)
    for path in (tree / "zipper").rglob("*.png"):  # twice as wide as high
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), cv2.resize(image, (2 * image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST))
    report = run(tree, tmp_path / "out", "single-class", cells=72, balance_layers=True)
    [fact] = [fact for fact in report.facts() if fact.startswith("Encoder")]
    assert "whole images on at most 72 cells" in fact
    assert "layers weighted from the references" in fact
    with (tmp_path / "out/report.csv").open() as file:
        assert {(row["resize"], row["crop"], row["cells"]) for row in csv.DictReader(file)} == {("", "", "72")}
    [outcome] = report.measured[0].outcomes
    assert outcome.mean.image_auroc is not None
    assert outcome.mean.image_auroc > 0.9
    assert outcome.mean.pixel_auroc is not None
    assert outcome.mean.pixel_auroc > 0.8
    geometries = job.whole_images(read_dataset(tree), 72, 16)
    assert geometries["zipper"].proportions == pytest.approx(2 * geometries["bottle"].proportions, rel=0.05)
    assert all(geometry.inspected == 1 for geometry in geometries.values())
    with pytest.raises(ValueError, match="single-class"):
        run(tree, tmp_path / "out", "multi-class", cells=72)
