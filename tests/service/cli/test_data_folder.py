"""Every command and its data folder: a wrong name, one being restored, an unusual name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import BeingRestored
from service.cli.app import app
from tests.helpers.commands import indexed, opened, touchstone
from tests.helpers.new_catalogue import new_data_folder
from tests.helpers.part_folders import folder_of

# Everything that opens a data folder, with what else it takes; `{}` is a folder beside the data.
READING = {
    "backup": ["backup", "{}/saved"],
    "condense": ["condense", "disc"],
    "export": ["export", "disc", "--to", "{}/exported"],
    "geometry list": ["geometry", "list"],
    "keys create": ["keys", "create", "press-4"],
    "keys list": ["keys", "list"],
    "keys revoke": ["keys", "revoke", "nobody"],
    "prune": ["prune"],
    "rebuild": ["rebuild"],
    "verify": ["verify"],
}
CREATING = {"index": ["index", "{}/parts"], "migrate": ["migrate"], "serve": ["serve", "--open", "--port", "0"]}
OF_THE_CATALOGUE_ALONE = {"keys create", "keys list", "keys revoke", "migrate"}  # whatever files there are
OTHERS = {"encoders fetch", "geometry advise", "evaluate", "restore"}  # opens none; makes one, see test_backup.py


def names(group: typer.Typer, before: str = "") -> Iterator[str]:
    """Of every command."""
    for registered_command in group.registered_commands:
        assert registered_command.callback is not None
        yield before + (registered_command.name or registered_command.callback.__name__.replace("_", "-"))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from names(inner.typer_instance, f"{inner.name} ")


def test_every_command_is_one_that_reads_or_one_that_creates() -> None:
    assert set(names(app)) == READING.keys() | CREATING.keys() | OTHERS


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def given(command: list[str], beside: Path) -> list[str]:
    return [argument.format(beside) for argument in command]


@pytest.mark.parametrize("command", READING.values(), ids=READING)
@pytest.mark.parametrize("kind", ["nothing there", "another folder", "no database file"])
def test_a_mistyped_folder_is_an_error_and_nothing_is_created(tmp_path: Path, command: list[str], kind: str) -> None:
    data, more = tmp_path / "typo", {}
    if kind != "nothing there":
        data.mkdir()
        (data / "notes.txt").touch()
    if kind == "no database file":
        more["DATABASE_URL"] = f"sqlite:///{tmp_path}/typo.sqlite"
    before = tree(tmp_path)
    done = touchstone(*given(command, tmp_path), data=data, **more)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1
    assert ("there is no data folder" if kind == "nothing there" else "it has no catalogue") in done.stderr
    assert str(data) in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", [*READING.values(), *CREATING.values()], ids=[*READING, *CREATING])
def test_a_folder_that_is_being_restored_is_left_alone(tmp_path: Path, command: list[str]) -> None:
    data = tmp_path / "data"
    folder_of(tmp_path / "parts", ".", disc=1)
    restore = DataFolder.restored(data)
    restore.__enter__()
    (data / "originals").mkdir()
    (data / "originals" / "restored.png").touch()
    before = tree(tmp_path)
    done = touchstone(*given(command, tmp_path), data=data)
    assert done.exit_code == 2, done.output
    assert "complete `touchstone restore` first" in done.stderr.splitlines()[-1]
    assert tree(tmp_path) == before
    with pytest.raises(BeingRestored):
        DataFolder.existing(data)


@pytest.mark.parametrize("name", sorted((READING.keys() | CREATING.keys()) - OF_THE_CATALOGUE_ALONE))
@pytest.mark.parametrize("catalogue", ["empty", "another folder's"])
def test_a_catalogue_that_is_not_of_the_folder_is_refused(tmp_path: Path, name: str, catalogue: str) -> None:
    data, other = indexed(tmp_path / "data", folder_of(tmp_path / "parts", ".", disc=1)), tmp_path / "other"
    if catalogue == "empty":
        other.mkdir()
        (other / "catalogue.sqlite").touch()
    else:  # of the same images
        indexed(other, tmp_path / "parts")
    before = tree(data / "originals") | tree(data / "segments")
    url = f"sqlite:///{other}/catalogue.sqlite"
    done = touchstone(*given({**READING, **CREATING}[name], tmp_path), data=data, DATABASE_URL=url)
    assert done.exit_code == 2, done.output
    assert f"{data} belongs to another catalogue than {url}" in done.stderr.splitlines()[-1]
    assert "name the database that it belongs to" in done.stderr.splitlines()[-1]
    assert tree(data / "originals") | tree(data / "segments") == before


@pytest.mark.parametrize("command", CREATING.values(), ids=CREATING)
@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_what_is_no_folder_becomes_no_data_folder(tmp_path: Path, command: list[str], kind: str) -> None:
    data = tmp_path / "data"
    folder_of(tmp_path / "parts", ".", disc=1)
    if kind == "file":
        data.touch()
    else:
        data.symlink_to("nowhere")
    before = tree(tmp_path)
    done = touchstone(*given(command, tmp_path), data=data)
    assert done.exit_code == 2, done.output
    assert f"{data} is {'not a folder' if kind == 'file' else 'a link to nothing'}" in done.stderr.splitlines()[-1]
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "command",
    [
        *([*command, "--data", ""] for command in (*READING.values(), *CREATING.values())),
        ["backup", ""],
        ["restore", ""],
        ["verify", "--backup", ""],
        ["export", "disc", "--to", ""],
        ["index", ""],
        ["serve", "--from", "", "--read-only"],
    ],
    ids=" ".join,
)
def test_an_empty_name_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """As a script gives that names a folder by a variable which is not set."""
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    data = tmp_path / "data"
    new_data_folder(data)
    done = touchstone(*given(command, tmp_path), data=data)
    assert done.exit_code == 2, done.output
    assert "the name of the folder is empty" in done.stderr
    assert not tree(inside)


ODD_NAMES = [
    "line%201",
    "a?b=c&d",
    "x#y",
    "with space;",
    "straße 日本",
    os.fsdecode(b"teil_\xe4"),
    "file:x",
    "[red]",
    "~",
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_the_catalogue_lies_in_the_folder_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "parts", ".", disc=2)
    for data in (Path(name), tmp_path / name / "inside"):  # relative, and not
        done = touchstone("index", "parts", "--data", str(data), data=tmp_path / "unused")
        assert done.exit_code == 0, done.output
        assert (data / "catalogue.sqlite").is_file()
        assert touchstone("keys", "create", "press-4", data=data).exit_code == 0
        saved, restored = tmp_path / "saved" / name, tmp_path / "again" / name
        assert touchstone("backup", saved, data=data).exit_code == 0
        assert touchstone("restore", saved, data=restored).exit_code == 0
        assert touchstone("verify", data=restored).exit_code == 0
        reference_store = opened(restored)
        assert len(reference_store.memory) == 2
        reference_store.close()
        restored.rename(tmp_path / f"done-{data.is_absolute()}")
    top = {name, "parts", "saved", "again", "done-True", "done-False"}
    assert {path.name for path in tmp_path.iterdir()} == top
    assert not list(Path(name).glob("*saved*"))
