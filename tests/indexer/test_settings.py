"""Settings are read from the environment; an invalid one is an error of one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from indexer.cli.options import read_settings
from indexer.settings import DataSettings
from tests.helpers.commands import touchstone


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_secret_may_have_been_written_by_any_editor(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "touchstone_database_url").write_text("postgresql://ü@database/t\r\n", encoding=encoding)
    (tmp_path / "touchstone_layers").write_text("4,7\r\n", encoding=encoding)
    settings = read_settings(DataSettings, _secrets_dir=tmp_path)
    assert settings.database_url == "postgresql://ü@database/t"
    assert settings.layers == (4, 7)


def test_a_secret_that_is_no_text_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "touchstone_database_url"
    secret.write_text("postgresql://ü@database/t", encoding="latin-1")
    with pytest.raises(typer.Exit):
        read_settings(DataSettings, _secrets_dir=tmp_path)
    said = capsys.readouterr().err
    assert said == f"touchstone: {secret} is neither UTF-8 nor UTF-16 with a byte order mark: save it as UTF-8\n"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_DATA", "")
    monkeypatch.setenv("TOUCHSTONE_DECODE_THREADS", "")
    assert (DataSettings().data, DataSettings().decode_threads) == (Path("touchstone-data"), 2)
