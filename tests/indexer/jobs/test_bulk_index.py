"""`touchstone index`: folders become references, once, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from indexer.calibration.leave_one_out import leave_one_out
from indexer.calibration.serialisation import to_stored
from indexer.domain.scoring_settings import ScoringSettings
from indexer.imaging.decode import FORMATS
from indexer.imaging.encode import encode_png
from indexer.imaging.listing import IMAGE_SUFFIXES
from indexer.search import TorchEngine
from tests.helpers.commands import environment, opened, references, started, touchstone
from tests.helpers.leave_one_out import finished
from tests.helpers.part_folders import folder_of
from tests.helpers.part_images import displaced, part, varied


@pytest.mark.parametrize("layout", [".", "train/good"])
def test_every_category_of_either_layout_becomes_references(tmp_path: Path, layout: str) -> None:
    parts, data = folder_of(tmp_path / "parts", layout, disc=5, plate=3), tmp_path / "data"
    (parts / "disc" / "ground_truth").mkdir()
    done = touchstone("index", parts, data=data)
    assert done.exit_code == 0, done.stderr
    reference_store = opened(data)
    assert len(reference_store.memory) == 8
    assert references(reference_store) == {
        **{f"disc-{n:03d}.png": "disc" for n in range(5)},
        **{f"plate-{n:03d}.png": "plate" for n in range(3)},
    }
    reference_store.close()


def test_files_of_every_suffix_that_the_decoder_reads_become_references(tmp_path: Path) -> None:
    Image.init()
    formats = {*FORMATS, "MPO", "DIB"}  # the decoder reads these two as JPEG and BMP
    assert {suffix for suffix, name in Image.registered_extensions().items() if name in formats} == IMAGE_SUFFIXES
    folder = tmp_path / "parts" / "disc"
    folder.mkdir(parents=True)
    names = [f"part{suffix if index % 2 else suffix.upper()}" for index, suffix in enumerate(sorted(IMAGE_SUFFIXES))]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(part(seed))
    done = touchstone("index", tmp_path / "parts", data=tmp_path / "data")
    assert done.exit_code == 0, done.stderr
    reference_store = opened(tmp_path / "data")
    assert sorted(references(reference_store)) == sorted(names)
    reference_store.close()


def test_it_says_of_which_categories_the_parts_seem_to_lie_anywhere(tmp_path: Path) -> None:
    parts = folder_of(tmp_path / "parts", ".", disc=5)
    (parts / "nut").mkdir()
    for seed in range(5):
        (parts / "nut" / f"{seed}.png").write_bytes(displaced(seed))
    done = touchstone("index", parts, data=tmp_path / "data")
    assert done.exit_code == 0, done.stderr
    [advice] = [line for line in done.stdout.splitlines() if "lie anywhere" in line]
    assert advice.startswith("nut: Good parts seem to lie anywhere")
    assert "Set rho to 255" in advice


def test_running_it_again_adds_only_what_is_new(tmp_path: Path) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=3), tmp_path / "data"
    assert touchstone("index", parts, data=data).exit_code == 0
    (parts / "disc" / "new.png").write_bytes(part(77))
    (parts / "disc" / "copy.png").write_bytes(part(0))
    repeated = touchstone("index", parts, data=data)
    assert repeated.exit_code == 0, repeated.stderr
    assert [line.split()[1::2] for line in repeated.stdout.splitlines() if "disc" in line and "│" in line] == [
        ["disc", "1", "4", "0", "0"]
    ]
    reference_store = opened(data)
    assert len(reference_store.memory) == 4
    reference_store.close()


def test_bad_files_are_listed_and_skipped_and_the_exit_code_says_so(tmp_path: Path) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=2), tmp_path / "data"
    (parts / "disc" / "broken.png").write_bytes(part(9)[:500])
    (parts / "disc" / "empty.jpg").write_bytes(b"")
    (parts / "disc" / "notes.txt").write_text("not an image, by its name")
    done = touchstone("index", parts, data=data)
    assert done.exit_code == 1
    refused = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    assert [Path(line.split(": ")[1]).name for line in refused] == ["broken.png", "empty.jpg"]
    reference_store = opened(data)
    assert sorted(references(reference_store)) == ["disc-000.png", "disc-001.png"]
    reference_store.close()


def test_a_bad_name_or_entry_affects_no_other_image_and_is_reported(tmp_path: Path) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=2), tmp_path / "data"
    folder = parts / "disc"
    for index, name in enumerate((b"teil_\xe4.png", b"a\nb.png", b"l" * 251 + b".png")):
        (folder / os.fsdecode(name)).write_bytes(part(20 + index))
    (folder / "endless.png").symlink_to("/dev/zero")
    (folder / "nowhere.png").symlink_to(tmp_path / "nowhere")
    (folder / "unreadable.png").symlink_to("x" * 300)  # stat itself fails
    os.mkfifo(folder / "pipe.png")
    (folder / "deeper").mkdir()
    (folder / "Thumbs.db").write_bytes(b"")
    (parts / "empty").mkdir()
    (parts / "loose.png").write_bytes(part(9))
    done = touchstone("index", parts, data=data)
    assert done.exit_code == 1, done.stderr
    lines = [line.split(": ") for line in done.stdout.splitlines()]
    assert {Path(line[1]).name for line in lines if line[0] == "refused"} == {"unreadable.png"}
    assert {str(Path(line[1]).relative_to(parts)) for line in lines if line[0] == "skipped"} == {
        "disc/endless.png",
        "disc/nowhere.png",
        "disc/pipe.png",
        "disc/deeper",
        "disc/Thumbs.db",
        "empty",
        "loose.png",
    }
    reference_store = opened(data)
    named = {"disc-000.png", "disc-001.png", "teil_\ufffd.png", "a\ufffdb.png", "l" * 251 + ".png"}
    assert set(references(reference_store)) == named
    reference_store.close()


def test_images_are_screened_against_each_other_and_what_is_there_and_refused_as_the_settings_say(
    tmp_path: Path,
) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=12), tmp_path / "data"
    (parts / "disc" / "scratched.png").write_bytes(part(51, scratched=True))
    first = touchstone("index", parts, data=data)
    assert first.exit_code == 0, first.stderr
    [outlier] = [line for line in first.stdout.splitlines() if line.startswith("outlier: ")]
    assert "scratched.png: A part of it looks like a defect" in outlier
    image = cv2.imdecode(np.frombuffer(part(50), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    (parts / "disc" / "dark.png").write_bytes(encode_png(np.ascontiguousarray(image // 4)))
    (parts / "disc" / "blurred.png").write_bytes(encode_png(cv2.GaussianBlur(image, (0, 0), 5)))
    done = touchstone("index", parts, data=data)
    assert done.exit_code == 0, done.stderr
    lines = [line.split(": ") for line in (first.stdout + done.stdout).splitlines() if f": {parts}" in line]
    reported = {(kind, Path(path).name) for kind, path, *_ in lines}
    assert {("too_dark", "dark.png"), ("blurred", "blurred.png"), ("outlier", "scratched.png")} <= reported
    reference_store = opened(data)
    references = {
        reference.filename: reference for reference in reference_store.catalogue.references.page(limit=100).items
    }
    stored = {(str(finding["kind"]), name) for name, reference in references.items() for finding in reference.findings}
    assert stored == reported
    reference_store.catalogue.categories.update_settings("disc", {"refuse": ("too_dark",)})
    reference_store.close()
    (parts / "disc" / "darker.png").write_bytes(encode_png(np.ascontiguousarray(image // 5)))
    refusing = touchstone("index", parts, data=data)
    assert refusing.exit_code == 1
    assert "darker.png: too_dark: Mean lightness" in refusing.stdout
    assert touchstone("index", parts, "--no-screen", data=data).exit_code == 0
    reference_store = opened(data)
    assert len(reference_store.memory) == 16
    reference_store.close()


def test_a_few_images_are_held_against_calibrated_references_or_said_to_be_too_few(tmp_path: Path) -> None:
    parts, data = tmp_path / "parts", tmp_path / "data"
    (parts / "disc").mkdir(parents=True)
    for seed in range(7):
        (parts / "disc" / f"{seed}.png").write_bytes(varied(seed))
    first = touchstone("index", parts, data=data)
    assert "disc: too few images to check for outliers: 1 more needed" in first.stdout
    assert "needs 99 references, and there are 7. Set false_reject_rate to 0.125 or more, or add 92" in first.stdout
    reference_store = opened(data)
    memory, settings = reference_store.memory, ScoringSettings()
    calibrated = finished(leave_one_out(memory, TorchEngine(torch.device("cpu")), "disc", settings.k, settings.rho))
    stored = to_stored(memory.version, calibrated)
    reference_store.catalogue.calibrations.store("disc", reference_store.memory_id, stored)  # as a service would
    reference_store.close()
    (parts / "disc" / "scratched.png").write_bytes(varied(51, scratched=True))
    second = touchstone("index", parts, data=data)
    assert "too few" not in second.stdout
    assert "outlier: " in second.stdout


def test_a_kill_neither_loses_nor_duplicates_references(tmp_path: Path) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=90, plate=18), tmp_path / "data"
    begun = 0
    for committed in (1, 2, 3):
        process = started("index", parts, data=data)
        while process.poll() is None and len(list(data.glob("segments/*.segment"))) < committed:
            time.sleep(0.01)
        process.kill()
        begun += process.wait() < 0
    assert begun, "the kills came too late to mean anything"
    done = touchstone("index", parts, data=data)
    assert done.exit_code == 0, done.stderr
    reference_store = opened(data)
    assert len(references(reference_store)) == len(reference_store.memory) == 108
    assert reference_store.corrupt_segments == ()
    reference_store.close()


def test_a_reference_store_that_is_open_meanwhile_sees_what_was_added(tmp_path: Path) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=4), tmp_path / "data"
    reference_store = opened(data)
    assert touchstone("index", parts, data=data).exit_code == 0
    assert len(reference_store.refresh()) == 4
    reference_store.close()


def test_the_module_is_the_same_command(tmp_path: Path) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=2), tmp_path / "data"
    command = [sys.executable, "-m", "indexer", str(parts)]
    assert subprocess.run(command, env=environment(data), capture_output=True).returncode == 0
    reference_store = opened(data)
    assert len(reference_store.memory) == 2
    reference_store.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root: None, "is not a folder"),
        (lambda root: root.mkdir(), "no images in"),
        (lambda root: folder_of(root.parent, ".", parts=1), "images lie in it directly"),
        (lambda root: folder_of(root.parent, "train/good", parts=1), "is one category"),
    ],
)
def test_a_folder_that_cannot_be_indexed_is_explained_in_one_line(tmp_path: Path, make, says: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "parts")
    done = touchstone("index", tmp_path / "parts", data=tmp_path / "data")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert not (tmp_path / "data").exists()


def test_another_encoder_than_the_memorys_is_refused_in_one_line(tmp_path: Path) -> None:
    parts, data = folder_of(tmp_path / "parts", ".", disc=1), tmp_path / "data"
    assert touchstone("index", parts, data=data).exit_code == 0
    done = touchstone("index", parts, data=data, CROP="96")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "touchstone rebuild" in done.stderr
