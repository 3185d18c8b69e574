from __future__ import annotations

from functools import cache
from itertools import product as pairs
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.demo import contact_sheet
from clients.demo.__main__ import main as demo
from clients.demo.factory import PRODUCTS, Sample, defect_kinds, main, render_defective, render_good, write_mvtec
from clients.demo.run import measure, to_map_geometry
from clients.demo.server import InputGeometry, InspectedPart, encode_png

GEOMETRY = InputGeometry((512, 512), (32, 32, 448, 448))
MAP = (256, 256)
EVERY_DEFECT = [(product, kind) for product in PRODUCTS for kind in defect_kinds(product)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_same_seed_renders_the_same_image_and_another_seed_another_one(product: str) -> None:
    first, repeated, other = render_good(product, 3), render_good(product, 3), render_good(product, 4)
    np.testing.assert_array_equal(first.image, repeated.image)
    assert encode_png(first.image) == encode_png(repeated.image)
    assert np.abs(first.image.astype(int) - other.image).mean() > 1
    assert first.image.shape == (512, 512, 3)
    assert first.image.dtype == np.uint8
    assert first.mask is None
    assert first.defect is None


@cache
def good_part(product: str, seed: int) -> Sample:
    """Rendered once for all defects that it is compared with."""
    return render_good(product, seed)


@pytest.mark.parametrize(("product", "kind"), EVERY_DEFECT)
def test_a_defect_is_inside_its_mask_and_nowhere_else(product: str, kind: str) -> None:
    for seed in (0, 1):
        good, bad = good_part(product, seed), render_defective(product, seed, kind)
        assert bad.defect == kind
        assert bad.mask is not None
        assert bad.mask.shape == (512, 512)
        assert set(np.unique(bad.mask)) == {0, 255}
        assert to_map_geometry(bad.mask, GEOMETRY, MAP).any(), "outside the analysed crop"
        changed = np.abs(good.image.astype(int) - bad.image).max(axis=2)
        assert changed[bad.mask > 0].mean() > 5
        assert changed[bad.mask == 0].mean() < 1
    repeated = render_defective(product, seed, kind)
    assert repeated.mask is not None
    np.testing.assert_array_equal(bad.image, repeated.image)
    np.testing.assert_array_equal(bad.mask, repeated.mask)


def test_five_products_have_at_least_five_kinds_of_defect_each() -> None:
    assert len(PRODUCTS) >= 5
    for product in PRODUCTS:
        assert len(set(defect_kinds(product))) >= 5


def test_without_a_kind_the_seed_selects_one_and_all_kinds_occur() -> None:
    all_kinds = defect_kinds("sheet")
    assert {render_defective("sheet", seed).defect for seed in range(len(all_kinds))} == set(all_kinds)


def test_an_unknown_product_or_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        render_good("anvil", 0)
    with pytest.raises(KeyError):
        render_defective("fabric", 0, "haunted")


def test_a_data_set_is_written_in_the_layout_of_mvtec(tmp_path: Path) -> None:
    assert write_mvtec(tmp_path, ["sheet"], good=2, test=5, seed=9) == 12
    folder = tmp_path / "sheet"
    assert len(list((folder / "train" / "good").glob("*.png"))) == 2
    assert len(list((folder / "test" / "good").glob("*.png"))) == 5
    first = cv2.imread(str(folder / "train" / "good" / "000.png"), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(first, render_good("sheet", 9).image)
    tested = [path for path in (folder / "test").glob("*/*.png") if path.parent.name != "good"]
    assert len(tested) == 5
    for path in tested:
        assert path.parent.name in defect_kinds("sheet")
        mask = cv2.imread(
            str(folder / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"), cv2.IMREAD_GRAYSCALE
        )
        assert mask is not None
        assert mask.any()


def test_training_and_test_parts_are_never_the_same(tmp_path: Path) -> None:
    write_mvtec(tmp_path, ["sheet"], good=3, test=3)
    train, test = ((tmp_path / "sheet" / part / "good").glob("*.png") for part in ("train", "test"))
    assert all(a.read_bytes() != b.read_bytes() for a, b in pairs(list(train), list(test)))


def test_the_command_line_writes_the_selected_products(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path), "--products", "fabric", "--good", "1", "--test", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fabric"]
    with pytest.raises(SystemExit) as exited:
        main(["--out", str(tmp_path), "--products", "anvil"])
    assert exited.value.code == 2


def test_a_contact_sheet_has_the_computed_size_and_contains_its_images() -> None:
    red = np.full((512, 512, 3), (250, 0, 0), np.uint8)
    green = np.full((400, 600, 3), (0, 250, 0), np.uint8)
    good = contact_sheet.Cell("good part", red, None, "normal", 0.1, 0.2)
    bad = contact_sheet.Cell("scratch", red, green, "anomalous", 0.4, None)
    full = contact_sheet.Row("bracket", "image AUROC 1.000", good, (bad, bad, bad))
    short = contact_sheet.Row("board", "", good, (bad,))
    sheet = contact_sheet.draw("Title", "Subtitle", [full, short])
    assert (sheet.shape[1], sheet.shape[0]) == contact_sheet.size(2, 3)
    assert np.count_nonzero((sheet == (250, 0, 0)).all(axis=2)) >= 6 * contact_sheet.CELL**2
    assert np.count_nonzero((sheet == (0, 250, 0)).all(axis=2)) >= 4 * contact_sheet.CELL**2


def test_a_mask_is_resized_and_cropped_like_the_anomaly_map() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[:32] = 255
    assert not to_map_geometry(mask, GEOMETRY, MAP).any()
    assert to_map_geometry(mask, InputGeometry((448, 448), (0, 0, 448, 448)), MAP).sum() == 16 * 256  # without a crop
    mask[32:39] = 255  # 7 of the crop's 448 rows are 4 of the map's 256
    assert to_map_geometry(mask, GEOMETRY, MAP).sum() == 4 * 256
    assert not to_map_geometry(None, GEOMETRY, MAP).any()


def test_perfect_detections_have_perfect_measurements() -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[200:300, 200:300] = 255
    image = np.zeros((8, 8, 3), np.uint8)

    def inspected(score: float, verdict: str, sample: Sample) -> InspectedPart:
        values = to_map_geometry(sample.mask, GEOMETRY, MAP).astype(np.float32)
        return InspectedPart(sample, "x", verdict, score, 0.5, values, image, 10.0)

    good, bad = Sample(image, None, None), Sample(image, mask, "scratch")
    result = measure(
        "bracket",
        [inspected(0.1, "normal", good), inspected(0.9, "anomalous", bad), inspected(0.8, "normal", bad)],
        GEOMETRY,
    )
    assert (result.image_auroc, result.pixel_auroc) == (1.0, 1.0)
    assert (result.good_passed, result.good, result.defects_caught, result.defective) == (1, 1, 1, 2)
    assert (result.p50_ms, result.p95_ms) == (10.0, 10.0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--references", "1"), 2, "argument --references: 1 is below 2"),
        (("--tests", "0"), 2, "argument --tests: 0 is below 1"),
        (("--out", "/proc/results"), 1, "demo: [Errno 2] No such file or directory: '/proc/results'"),
    ],
)
def test_a_demo_that_cannot_be_run_says_why(
    arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        returned: object = demo(arguments)
    except SystemExit as ended:
        returned = ended.code
    assert returned == code
    assert message in capsys.readouterr().err.splitlines()[-1]
