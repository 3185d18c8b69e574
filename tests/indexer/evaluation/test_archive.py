"""Archives in MVTec-AD's layout: folder names for any file system, and what the manifest says."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer.evaluation.archive import MANIFEST, ArchivedImage, DatasetArchive, ImageBytes
from indexer.evaluation.folder_names import FolderNames
from indexer.evaluation.readers import read_dataset
from indexer.evaluation.region_mask import region_mask
from tests.helpers.part_images import part

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@given(st.lists(st.text(min_size=1, max_size=130)))
def test_each_name_has_a_folder_of_its_own_that_windows_accepts(names: list[str]) -> None:
    folders = FolderNames("good")
    given_ = {name: folders.folder_of(name) for name in names}
    assert len({folder.casefold() for folder in given_.values()} | {"good"}) == len(given_) + 1
    for name, folder in given_.items():
        assert folders.folder_of(name) == folder
        assert folder
        assert not set(folder) & set('<>:"/\\\\|?*')
        assert folder[0] not in ". "
        assert folder[-1] not in ". "
        assert len(folder.encode()) <= 255


def test_ordinary_names_stay_and_others_can_be_recognised() -> None:
    folders = FolderNames("good")
    names = ["scratch", "Kratzer groß", "划痕", "a/b", "..", "Good", "Scratch", "con", "aux.1", "50 %"]
    assert [folders.folder_of(name) for name in names] == [
        "scratch",
        "Kratzer groß",
        "划痕",
        "a%2Fb",
        "%2E%2E",
        "Good_",
        "Scratch_",
        "%63on",
        "%61ux.1",
        "50 %25",
    ]


def image(index: int, **values: object) -> ArchivedImage:
    return ArchivedImage("inspection", f"{index}", "disc", f"{index}.png", NOON, **values)  # type: ignore[arg-type]


def test_an_archive_is_read_back_as_the_data_set_that_it_was(tmp_path: Path) -> None:
    data, mask = (
        ImageBytes(part(1), ".png"),
        ImageBytes(region_mask([[(10, 10), (30, 10), (30, 20)]], (160, 144)), ".png"),
    )
    written = []
    with DatasetArchive.begin() as archive:
        archive.add_reference(image(1), data)
        written.append(archive.take())
        archive.add_sample(image(2), data)
        archive.add_sample(image(3, defective=True, defect_class="good"), data, mask)
        archive.add_sample(image(4, defective=True, comment="an escape"), data)
        archive.leave_out(image(5), "Its image was pruned.")
        written += archive.finish()
    with zipfile.ZipFile(io.BytesIO(b"".join(written))) as made:
        assert made.testzip() is None
        made.extractall(tmp_path)
    dataset = read_dataset(tmp_path)
    assert [path.path.name for path in dataset.references] == ["1.png"]
    read = {sample.path.name: (sample.kind, sample.defective, sample.mask is not None) for sample in dataset.samples}
    assert read == {"2.png": ("good", False, False), "3.png": ("good_", True, True), "4.png": ("defect", True, False)}
    lines = [json.loads(line) for line in (tmp_path / MANIFEST).read_text(encoding="utf-8").splitlines()]
    assert [line["path"] for line in lines] == [
        "disc/train/good/1.png",
        "disc/test/good/2.png",
        "disc/test/good_/3.png",
        "disc/test/defect/4.png",
        None,
    ]
    assert (lines[2]["mask"], lines[3]["comment"]) == ("disc/ground_truth/good_/3_mask.png", "an escape")
    assert lines[4]["left_out"] == "Its image was pruned."


def test_what_was_taken_is_not_in_memory_any_more() -> None:
    data = ImageBytes(bytes(1_000_000), ".bmp")
    with DatasetArchive.begin() as archive:
        sizes = []
        for index in range(5):
            archive.add_reference(image(index), data)
            sizes.append(len(archive.take()))
        assert max(sizes) < 1_001_000
        assert archive.take() == b""


def test_a_mask_is_white_within_the_regions_down_to_a_single_pixel() -> None:
    png = region_mask([[(2, 1), (6, 1), (6, 4), (2, 4)], [(9.5, 7.5)]], (12, 10))
    mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (10, 12)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[2, 4], mask[7, 9], mask[8, 1]) == (255, 255, 0)
