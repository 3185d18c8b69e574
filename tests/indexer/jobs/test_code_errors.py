"""`touchstone verify` says how far stored codes can move a score: as far as the stored patches are off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from indexer.catalogue.data_folder import DataFolder
from indexer.encoders import Features
from indexer.jobs.code_errors import code_errors
from tests.helpers.commands import opened, touchstone
from tests.helpers.part_folders import folder_of


def features_of(data: Path, codec: str) -> list[Features]:
    """The stored features of each reference."""
    library = opened(data, codec=codec)
    features = [library.memory.features_of(row) for row in range(library.memory.rows)]
    library.close()
    return features


def test_a_rebuilt_memory_of_four_bits_is_as_far_off_as_verify_says(tmp_path: Path) -> None:
    data = tmp_path / "data"
    parts = folder_of(tmp_path / "parts", ".", disc=3, plate=1)
    assert touchstone("index", parts, data=data, CODEC="fp32").exit_code == 0
    assert "fp32 codes move no score by more than 0.0000 (" in touchstone("verify", data=data).stdout
    exact = features_of(data, "fp32")
    done = touchstone("rebuild", "--codec", "int4", data=data)
    assert done.exit_code == 0, done.stdout + done.stderr
    stored = features_of(data, "int4")
    off = torch.stack([(a.patches[0] - b.patches[0]).norm(dim=-1) for a, b in zip(exact, stored, strict=True)])
    by_layer = off.amax(dim=(0, 2)).tolist()
    errors = code_errors(DataFolder.existing(data), lambda done, total: None)
    assert errors is not None
    assert list(errors.by_layer.values()) == pytest.approx(by_layer, abs=2e-4)
    assert 0.05 < errors.largest < 0.2
    said = touchstone("verify", data=data)
    assert said.exit_code == 0
    line = said.stdout.splitlines()[-2]
    assert line.startswith("int4 codes move no score by more than 0.")
    assert float(line.split()[8]) == pytest.approx(errors.largest, abs=1.1e-4)
    assert float(line.split()[8]) >= errors.largest


def test_an_empty_memory_moves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    opened(data).close()
    assert code_errors(DataFolder.existing(data), lambda done, total: None) is None
