"""`--help` of every command shows its examples as lines of their own, and nothing of how it is written."""

from __future__ import annotations

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from service.cli.app import app


def commands(group: TyperGroup, *names: str) -> list[tuple[str, ...]]:
    """The names of all commands of a group and of those in it."""
    listed: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        listed += commands(command, *names, name) if isinstance(command, TyperGroup) else [(*names, name)]
    return listed


COMMANDS = commands(typer.main.get_group(app))


def test_all_commands_are_looked_at() -> None:
    assert {("serve",), ("condense",), ("keys", "create"), ("geometry", "advise")} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_for_people(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "\\b" not in shown.stdout
    assert "\b" not in shown.stdout
    if "Examples:" in shown.stdout:
        examples = shown.stdout.partition("Examples:")[2].partition("╭")[0].strip().splitlines()
        assert all(line.lstrip().startswith("touchstone") for line in examples), examples
