"""The study of codecs runs on a folder of images and has a row for every way to store a patch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import typer
from typer.testing import CliRunner

from indexer.benchmarks.codecs import main
from indexer.imaging.decode import decode_image
from indexer.imaging.encode import encode_png
from tests.helpers.part_images import part


def test_every_codec_has_a_row_and_finer_ones_move_scores_less(tmp_path: Path) -> None:
    good, scratched = (decode_image(part(11, scratched=scratched)) for scratched in (False, True))
    mask = np.where(np.ptp([good, scratched], axis=0).max(axis=2) > 60, np.uint8(255), np.uint8(0))
    for folder, images in {
        "train/good": [part(seed) for seed in range(4)],
        "test/good": [part(10)],
        "test/scratch": [part(11, scratched=True)],
        "ground_truth/scratch": [encode_png(mask)],
    }.items():
        (tmp_path / "disc" / folder).mkdir(parents=True)
        for index, data in enumerate(images):
            (tmp_path / "disc" / folder / f"{index}.png").write_bytes(data)
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, [str(tmp_path), "--crop", "112"])
    assert result.exit_code == 0, result.output
    row = r"^\| (\S.*?) \| (\d+) \| [\d.]+ \| (\S+) \| (\S+) \| (\S+) \| (\S+) \| [+-][\d.]+ \| [+-][\d.]+ \|$"
    rows = re.findall(row, result.output, re.MULTILINE)
    largest = {name: float(error) for name, _, _, error, _, _ in rows}
    assert largest.keys() >= {"fp16", "bf16", "int8", "int4", "FAISS SQ8", "FAISS EDEN, 8 bits"}
    for _, _, bound, score_error, mean, _ in rows:
        assert float(mean) <= float(score_error) <= float(bound) + 1e-6
    assert largest["fp16"] < largest["bf16"] < largest["FAISS SQ4"]
    assert largest["fp16"] < largest["int8"] < largest["int4"]
    assert largest["fp16"] < 1e-3
