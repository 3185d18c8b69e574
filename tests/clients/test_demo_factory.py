from __future__ import annotations

from itertools import product as pairs
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.demo import contact_sheet
from clients.demo.factory import PRODUCTS, Sample, kinds, main, render_defective, render_good, write_mvtec
from clients.demo.run import Frame, analysed, measure
from clients.demo.server import Inspected, encode

CUT = Frame(512, 448)
EVERY_DEFECT = [(product, kind) for product in PRODUCTS for kind in kinds(product)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_same_seed_gives_the_same_picture_and_another_seed_another(product: str) -> None:
    first, again, other = render_good(product, 3), render_good(product, 3), render_good(product, 4)
    np.testing.assert_array_equal(first.image, again.image)
    assert encode(first.image) == encode(again.image)
    assert np.abs(first.image.astype(int) - other.image).mean() > 1
    assert first.image.shape == (512, 512, 3)
    assert first.image.dtype == np.uint8
    assert first.mask is None
    assert first.defect is None


@pytest.mark.parametrize(("product", "kind"), EVERY_DEFECT)
def test_a_defect_is_where_its_mask_says_and_nowhere_else(product: str, kind: str) -> None:
    for seed in (0, 1):
        good, bad = render_good(product, seed), render_defective(product, seed, kind)
        again = render_defective(product, seed, kind)
        assert bad.defect == kind
        assert bad.mask is not None
        assert again.mask is not None
        np.testing.assert_array_equal(bad.image, again.image)
        np.testing.assert_array_equal(bad.mask, again.mask)
        assert bad.mask.shape == (512, 512)
        assert set(np.unique(bad.mask)) == {0, 255}
        assert analysed(bad.mask, CUT).any(), "the detector would not look at it"
        changed = np.abs(good.image.astype(int) - bad.image).max(axis=2)
        assert changed[bad.mask > 0].mean() > 5
        assert changed[bad.mask == 0].mean() < 1


def test_five_products_have_at_least_five_kinds_of_defect_each() -> None:
    assert len(PRODUCTS) >= 5
    for product in PRODUCTS:
        assert len(set(kinds(product))) >= 5


def test_without_a_kind_the_seed_chooses_and_all_kinds_occur() -> None:
    choice = kinds("sheet")
    assert {render_defective("sheet", seed).defect for seed in range(len(choice))} == set(choice)


def test_an_unknown_product_or_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        render_good("anvil", 0)
    with pytest.raises(KeyError):
        render_defective("fabric", 0, "haunted")


def test_a_written_data_set_reads_back_in_the_layout_of_mvtec(tmp_path: Path) -> None:
    assert write_mvtec(tmp_path, ["sheet"], good=2, test=5, seed=9) == 12
    folder = tmp_path / "sheet"
    assert len(list((folder / "train" / "good").glob("*.png"))) == 2
    assert len(list((folder / "test" / "good").glob("*.png"))) == 5
    first = cv2.imread(str(folder / "train" / "good" / "000.png"), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(first, render_good("sheet", 9).image)
    tested = [path for path in (folder / "test").glob("*/*.png") if path.parent.name != "good"]
    assert len(tested) == 5
    for path in tested:
        assert path.parent.name in kinds("sheet")
        mask = cv2.imread(
            str(folder / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"), cv2.IMREAD_GRAYSCALE
        )
        assert mask is not None
        assert mask.any()


def test_training_and_test_parts_are_never_the_same(tmp_path: Path) -> None:
    write_mvtec(tmp_path, ["sheet"], good=3, test=3)
    train, test = ((tmp_path / "sheet" / part / "good").glob("*.png") for part in ("train", "test"))
    assert all(a.read_bytes() != b.read_bytes() for a, b in pairs(list(train), list(test)))


def test_the_command_line_writes_what_was_asked_for(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path), "--products", "fabric", "--good", "1", "--test", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fabric"]
    with pytest.raises(SystemExit) as refused:
        main(["--out", str(tmp_path), "--products", "anvil"])
    assert refused.value.code == 2


def test_a_contact_sheet_has_the_size_it_promises_and_shows_its_pictures() -> None:
    red = np.full((512, 512, 3), (250, 0, 0), np.uint8)
    green = np.full((400, 600, 3), (0, 250, 0), np.uint8)
    good = contact_sheet.Shown("good part", red, None, "normal", 0.1, 0.2)
    bad = contact_sheet.Shown("scratch", red, green, "anomalous", 0.4, None)
    full = contact_sheet.Row("bracket", "image AUROC 1.000", good, (bad, bad, bad))
    short = contact_sheet.Row("board", "", good, (bad,))
    sheet = contact_sheet.draw("Title", "Subtitle", [full, short])
    assert (sheet.shape[1], sheet.shape[0]) == contact_sheet.size(2, 3)
    assert np.count_nonzero((sheet == (250, 0, 0)).all(axis=2)) >= 6 * contact_sheet.CELL**2
    assert np.count_nonzero((sheet == (0, 250, 0)).all(axis=2)) >= 4 * contact_sheet.CELL**2


def test_a_mask_is_cut_as_the_detector_cuts_the_picture() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[:32] = 255
    assert not analysed(mask, CUT).any()
    assert analysed(mask, Frame(448, 448)).sum() == 16 * 256  # where nothing is cut
    mask[32:39] = 255  # 7 of the crop's 448 rows are 4 of the map's 256
    assert analysed(mask, CUT).sum() == 4 * 256
    assert not analysed(None, CUT).any()


def test_perfect_answers_measure_as_perfect() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[200:300, 200:300] = 255
    image = np.zeros((8, 8, 3), np.uint8)

    def told(score: float, verdict: str, sample: Sample) -> Inspected:
        values = analysed(sample.mask, CUT).astype(np.float32)
        return Inspected(sample, "x", verdict, score, 0.5, values, image, 10.0)

    good, bad = Sample(image, None, None), Sample(image, mask, "scratch")
    result = measure("bracket", [told(0.1, "normal", good), told(0.9, "anomalous", bad), told(0.8, "normal", bad)], CUT)
    assert (result.image_auroc, result.pixel_auroc) == (1.0, 1.0)
    assert (result.good_passed, result.good, result.defects_caught, result.defective) == (1, 1, 1, 2)
    assert (result.p50_ms, result.p95_ms) == (10.0, 10.0)
