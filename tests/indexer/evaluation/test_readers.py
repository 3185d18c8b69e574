"""Every published layout is read; a missing part of it is an error of one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from indexer.encoders import InputGeometry
from indexer.evaluation.dataset import Dataset, DatasetError, Layout, Sample
from indexer.evaluation.masks import read_mask
from indexer.evaluation.presets import PRESETS
from indexer.evaluation.readers import LAYOUTS, read_dataset
from indexer.imaging.encode import encode_png
from tests.helpers import trees


def told(dataset: Dataset) -> tuple[int, int, int, int]:
    """How many references, samples, defective samples and masks it has."""
    samples = dataset.samples
    masks = sum(sample.mask is not None for sample in samples)
    return len(dataset.references), len(samples), sum(sample.defective for sample in samples), masks


@pytest.mark.parametrize(
    ("lay_out", "layout", "categories", "counts"),
    [
        (trees.mvtec, "folder", ("disc", "plate"), (12, 12, 6, 6)),
        (lambda root: trees.mvtec(root, ("bottle", "zipper")), "mvtec-ad", ("bottle", "zipper"), (12, 12, 6, 6)),
        (trees.visa, "visa", ("candle", "pcb1"), (6, 4, 2, 2)),
        (trees.visa_converted, "visa", ("candle", "pcb1"), (2, 4, 2, 2)),
        (trees.real_iad, "real-iad", ("audiojack",), (3, 2, 1, 1)),
        (lambda root: trees.real_iad(root, size=512), "real-iad", ("audiojack",), (3, 2, 1, 1)),
        (trees.adam, "3d-adam", ("1m1",), (3, 2, 1, 1)),
        (lambda root: trees.mvtec(root, ("1m1", "spurgear")), "3d-adam", ("1m1", "spurgear"), (12, 12, 6, 6)),
    ],
)
def test_a_published_layout_is_recognised_and_read_whole(
    tmp_path: Path,
    lay_out: Callable[[Path], Path],
    layout: Layout,
    categories: tuple[str, ...],
    counts: tuple[int, int, int, int],
) -> None:
    dataset = read_dataset(lay_out(tmp_path))
    assert dataset.layout == layout
    assert dataset.categories == categories
    assert told(dataset) == counts
    for sample in dataset.samples:
        assert sample.path.is_file()
        assert sample.mask is None or sample.mask.is_file()
    assert read_dataset(tmp_path, layout) == dataset


def test_masks_are_optional(tmp_path: Path) -> None:
    trees.mvtec(tmp_path)
    for name in ("disc", "plate"):
        shutil.rmtree(tmp_path / name / "ground_truth")
    assert told(read_dataset(tmp_path)) == (12, 12, 6, 0)
    assert not any(sample.pixels_known for sample in read_dataset(tmp_path).samples if sample.defective)


def test_real_iad_is_read_at_the_papers_size_when_there_are_several(tmp_path: Path) -> None:
    trees.real_iad(tmp_path, size=256)
    trees.real_iad(tmp_path, size=1024)
    assert all("realiad_1024" in str(sample.path) for sample in read_dataset(tmp_path).samples)


def _gone(path: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        target = root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return remove


def _written(path: str, text: str) -> Callable[[Path], None]:
    return lambda root: trees.put(root / path, text.encode())


def _without(path: str, start: str) -> Callable[[Path], None]:
    def cut(root: Path) -> None:
        lines = (root / path).read_text().splitlines()
        (root / path).write_text("\n".join(line for line in lines if not line.startswith(start)))

    return cut


_VISA = "object,split,label,image,mask\n"
_NUMBERED = json.dumps({"train": [], "test": [{"image_path": "OK/0.jpg", "anomaly_class": "BX", "mask_path": 5}]})


@pytest.mark.parametrize(
    ("lay_out", "damage", "says"),
    [
        (trees.mvtec, _gone("disc"), None),
        (trees.mvtec, _gone("disc/train/good"), "no images in"),
        (trees.mvtec, _gone("disc/test"), "not completely unpacked"),
        (trees.mvtec, _gone("disc/ground_truth/scratch/001_mask.png"), "1 of 3 images"),
        (trees.mvtec, _gone("disc/ground_truth/scratch"), "has no folder scratch"),
        (trees.visa, _gone("pcb1/Data/Images/Anomaly/000.JPG"), "which is not in"),
        (trees.visa, _gone("pcb1/Data/Masks/Anomaly/000.png"), "which is not in"),
        (trees.visa, _written("split_csv/1cls.csv", "a,b\n1,2\n"), "its columns should be object, split"),
        (trees.visa, _written("split_csv/1cls.csv", _VISA + "candle,train,nor"), "cut short in row 2"),
        (trees.visa, _without("split_csv/1cls.csv", "pcb1,train"), "pcb1 in .* has no references"),
        (trees.visa, _without("split_csv/1cls.csv", "pcb1,test"), "pcb1 in .* has no test images"),
        (trees.visa, lambda root: trees.put(root / "split_csv/1cls.csv", b"PK\xff"), "neither UTF-8 nor UTF-16"),
        (trees.visa, _gone("split_csv"), "it has neither split_csv"),
        (trees.visa_converted, _gone("1cls/candle/train/good"), "no images in"),
        (trees.real_iad, _gone("realiad_jsons"), "no JSON file"),
        (trees.real_iad, _gone("realiad_1024"), "holds none of realiad_1024"),
        (trees.real_iad, _gone("realiad_1024/audiojack/NG"), "unpack that category again"),
        (trees.real_iad, _written("realiad_jsons/realiad_jsons/audiojack.json", "[1]"), "should list image_path"),
        (trees.real_iad, _written("realiad_jsons/realiad_jsons/audiojack.json", "{"), "should list image_path"),
        (trees.real_iad, _written("realiad_jsons/realiad_jsons/audiojack.json", _NUMBERED), "should list image_path"),
        (trees.real_iad, _written("realiad_jsons/realiad_jsons/audiojack.json", "[" * 100_000), "should list"),
        (trees.real_iad, _written("realiad_1024/toy/OK/0.jpg", ""), "toy has images in .*, but no JSON"),
        (trees.real_iad, _gone("realiad_1024/audiojack"), "audiojack is not: unpack that category"),
        (trees.adam, _gone("1m1/train/good/rgb/000_C.png"), None),
        (trees.adam, _written("1m2/test/scratches/rgb/000_C.png", ""), "no images in .*1m2/train/good/rgb"),
        (trees.adam, _gone("1m1/test/scratches/ground_truth/008_C.png"), "have no mask"),
        (trees.adam, _gone("1m1/test"), "no defective test image"),
    ],
)
def test_a_half_unpacked_data_set_is_explained_in_one_line(
    tmp_path: Path, lay_out: Callable[[Path], Path], damage: Callable[[Path], None], says: str | None
) -> None:
    damage(lay_out(tmp_path))
    if says is None:  # what is left is a smaller data set, and whole
        read_dataset(tmp_path)
        return
    with pytest.raises(DatasetError, match=says) as error:
        read_dataset(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_of_something_else_is_refused_under_every_name(tmp_path: Path, layout: Layout) -> None:
    trees.put(tmp_path / "holiday" / "beach.png", trees.mask_png())
    with pytest.raises(DatasetError):
        read_dataset(tmp_path, layout)
    with pytest.raises(DatasetError, match="is not a folder"):
        read_dataset(tmp_path / "nowhere", layout)


def test_a_single_category_folder_is_refused_with_the_expected_layout(tmp_path: Path) -> None:
    trees.mvtec(tmp_path)
    with pytest.raises(DatasetError, match="--category disc"):
        read_dataset(tmp_path / "disc")
    with pytest.raises(DatasetError, match="it has disc, plate"):
        read_dataset(tmp_path, categories=("cup",))
    assert read_dataset(tmp_path, categories=("plate",)).categories == ("plate",)


@pytest.mark.parametrize(
    ("lay_out", "names", "damaged"),
    [
        (trees.mvtec, ("disc", "plate"), "disc/train"),
        (trees.visa, ("candle", "pcb1"), "candle/Data"),
        (trees.visa_converted, ("candle", "pcb1"), "1cls/candle/train"),
        (
            lambda root: trees.real_iad(trees.real_iad(root), category="toy"),
            ("audiojack", "toy"),
            "realiad_1024/audiojack",
        ),
        (lambda root: trees.adam(trees.adam(root), category="1m2"), ("1m1", "1m2"), "1m1/train"),
    ],
)
def test_one_category_is_read_whatever_is_missing_of_the_others(
    tmp_path: Path, lay_out: Callable[[Path], Path], names: tuple[str, str], damaged: str
) -> None:
    _gone(damaged)(lay_out(tmp_path))
    with pytest.raises(DatasetError):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, categories=names[1:]).categories == names[1:]


def test_every_layout_has_a_preset_and_the_papers_are_the_papers() -> None:
    assert PRESETS.keys() == set(LAYOUTS)
    settings = {name: (preset.scoring.k, preset.scoring.rho) for name, preset in PRESETS.items()}
    assert settings == {
        "mvtec-ad": (150, 1),
        "visa": (900, 2),
        "real-iad": (900, 0),
        "3d-adam": (48, 1),
        "folder": (150, 1),
    }
    assert all(preset.geometry == InputGeometry.paper(512, 448) for preset in PRESETS.values())


def test_a_mask_is_resized_and_cropped_like_its_image(tmp_path: Path) -> None:
    mask = np.zeros((1024, 1024), np.uint8)
    mask[400:600, 300:500] = 255
    path = tmp_path / "mask.png"
    path.write_bytes(encode_png(mask))
    cropped = read_mask(Sample(tmp_path, "c", "scratch", path), InputGeometry.paper(512, 448).frame(16))
    assert cropped.shape == (256, 256)
    # 512ths of the image, less the margin of 32, at 256/448; a trace of grey at its edge counts.
    rows, columns = np.flatnonzero(cropped[:, 80:100].any(axis=1)), np.flatnonzero(cropped[100:110].any(axis=0))
    assert abs(rows.min() - (200 - 32) * 256 / 448) < 2
    assert abs(rows.max() + 1 - (300 - 32) * 256 / 448) < 2
    assert abs(columns.min() - (150 - 32) * 256 / 448) < 2
    assert abs(columns.max() + 1 - (250 - 32) * 256 / 448) < 2
    assert not read_mask(Sample(tmp_path, "c", "good"), InputGeometry.paper(512, 448).frame(16)).any()


def test_numbered_masks_equal_black_and_white_ones(tmp_path: Path) -> None:
    numbered, white = tmp_path / "1.png", tmp_path / "2.png"
    numbered.write_bytes(trees.mask_png(level=1))
    white.write_bytes(trees.mask_png())
    geometry = InputGeometry.paper(512, 448)
    first = read_mask(Sample(tmp_path, "c", "bad", numbered, numbered=True), geometry.frame(16))
    assert np.array_equal(first, read_mask(Sample(tmp_path, "c", "bad", white), geometry.frame(16)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [1, 2, 128, 255])
def test_a_scratch_one_pixel_wide_is_foreground_whatever_its_value(tmp_path: Path, kind: type, level: int) -> None:
    scratch = np.zeros((1024, 1024), np.uint8)
    cv2.line(scratch, (500, 400), (560, 443), 1, 1)
    geometry, path = InputGeometry.paper(512, 448), tmp_path / "mask.png"
    path.write_bytes(encode_png(scratch * np.uint8(255)))
    expected = read_mask(Sample(tmp_path, "c", "scratch", path), geometry.frame(16))
    assert expected.sum() > 20
    path.write_bytes(encode_png(scratch.astype(kind) * kind(level)))
    np.testing.assert_array_equal(read_mask(Sample(tmp_path, "c", "scratch", path), geometry.frame(16)), expected)


def test_levels_of_grey_go_the_papers_way(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur((rng.random((700, 700)) > 0.999).astype(np.float32) * 6000, (0, 0), 2)
    grey = grey.clip(0, 255).astype(np.uint8)
    path = tmp_path / "mask.png"
    path.write_bytes(encode_png(grey))
    square = Image.fromarray(grey).resize((512, 512), Image.Resampling.BILINEAR).crop((32, 32, 480, 480))
    rows = np.floor(np.arange(256) * 448 / 256).astype(int)
    expected = np.asarray(square)[rows][:, rows] > 0
    np.testing.assert_array_equal(
        read_mask(Sample(tmp_path, "c", "bad", path), InputGeometry.paper(512, 448).frame(16)), expected
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("lay_out", "listed"),
    [(trees.visa, "split_csv/1cls.csv"), (trees.real_iad, "realiad_jsons/realiad_jsons/audiojack.json")],
)
def test_lists_may_have_been_saved_by_any_editor(
    tmp_path: Path, lay_out: Callable[[Path], Path], listed: str, encoding: str
) -> None:
    plain = read_dataset(lay_out(tmp_path))
    file = tmp_path / listed
    text = file.read_text(encoding="utf-8")
    file.write_text(text, encoding=encoding)
    assert read_dataset(tmp_path) == plain
    file.write_text(text + "ü", encoding="latin-1")
    with pytest.raises(DatasetError, match=f"{file.name} is neither UTF-8 nor UTF-16"):
        read_dataset(tmp_path)
