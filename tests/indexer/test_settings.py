"""Settings come from the environment as plant IT writes them, and a wrong one is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.settings import DataSettings
from tests.indexer.commands import touchstone


@pytest.mark.parametrize(("written", "layers"), [("4,7", (4, 7)), (" 3, 6 ,9", (3, 6, 9)), ("12", (12,)), ("", None)])
def test_layers_are_a_list_with_commas(
    written: str, layers: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHSTONE_LAYERS", written)
    assert DataSettings().encoder_settings.layers == layers


@pytest.mark.parametrize("wrong", [{"LAYERS": "4;7"}, {"CODEC": "fp8"}, {"CROP": "0"}, {"DTYPE": "double"}])
def test_a_wrong_setting_is_named_in_one_line(wrong: dict[str, str], tmp_path: Path) -> None:
    done = touchstone("index", tmp_path, data=tmp_path / "data", **wrong)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert f"TOUCHSTONE_{next(iter(wrong))}" in done.stderr
    assert not (tmp_path / "data").exists()
