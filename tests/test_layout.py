"""Tests import helpers, never each other, and mirror the packages that they test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests").rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    """The modules of tests that a file imports, by their full names."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_imported_from_a_test_module(file: Path) -> None:
    from_tests = [name.split(".") for name in imports(file) if name.startswith("tests.")]
    assert not [name for name in from_tests if any(part.startswith("test_") or part == "conftest" for part in name)]


@pytest.mark.parametrize("package", ["indexer", "service"])
def test_tests_stand_in_the_rooms_of_what_they_test(package: str) -> None:
    rooms = {path.name for path in (ROOT / package).iterdir() if path.is_dir()}
    tested = {path.parent.name for path in (ROOT / "tests" / package).glob("*/test_*.py")}
    assert tested <= rooms


def test_every_file_of_tests_is_in_the_page_that_says_what_each_holds() -> None:
    named = re.findall(r"\]\((\S+\.py)\)", (ROOT / "tests/README.md").read_text(encoding="utf-8"))
    there = [str(file.relative_to(ROOT / "tests")) for file in FILES if file.name.startswith("test_")]
    assert sorted(named) == sorted(there), "tests/README.md has a line for each"
