"""How far long commands are, where nobody sees a bar: lines on standard error, with count, rate and time left."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.indexer.commands import environment, touchstone
from tests.indexer.evaluation import trees
from tests.indexer.test_bulk import folder_of

_LINE = re.compile(r"(?P<what>.+): (?P<done>\d+) of (?P<total>\d+)(, [\d.]+ a second)?(, \d+:\d\d:\d\d left)?")


def test_every_long_command_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.progress._SECONDS", 0.0)
    folder_of(tmp_path / "parts", ".", disc=12)
    trees.mvtec(tmp_path / "labelled", ("disc",), references=3, tests=1)
    data, saved = tmp_path / "data", tmp_path / "saved"
    small = ["--resize", "128", "--crop", "112", "--out", str(tmp_path / "out")]
    for command, of, whats in (
        (["index", str(tmp_path / "parts")], data, ["disc"]),
        (["backup", str(saved)], data, ["files"]),
        (["verify"], data, ["files"]),
        (["restore", str(saved)], tmp_path / "again", ["files"]),
        (["rebuild", "--codec", "int8"], data, ["encoding again"]),
        (
            ["evaluate", str(tmp_path / "labelled"), *small],
            data,
            [": references", "recognised", "from the references", "sheets"],
        ),
    ):
        done = touchstone(*command, data=of)
        assert done.exit_code == 0, done.output
        lines = [_LINE.fullmatch(line) for line in done.stderr.splitlines()]
        told = [line for line in lines if line is not None]
        assert len(told) == len(lines), done.stderr
        for what in whats:
            counts = [(int(line["done"]), int(line["total"])) for line in told if line["what"].endswith(what)]
            assert counts, what
            assert counts == sorted(counts)
            assert counts[-1][0] == counts[-1][1], "the last line says that all is done"
        assert any(" a second" in line[0] for line in told)


def test_short_work_prints_no_line_and_a_terminal_has_a_bar(tmp_path: Path) -> None:
    folder_of(tmp_path / "parts", ".", disc=4)
    quiet = touchstone("index", tmp_path / "parts", data=tmp_path / "data")
    assert quiet.stderr == ""
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "service.cli", "verify"]
    variables = {**environment(tmp_path / "data"), "TERM": "xterm"}
    done = subprocess.run(command, env=variables, stderr=terminal, stdout=subprocess.PIPE, timeout=120)
    os.close(terminal)
    assert done.returncode == 0
    assert done.stdout == b"5 files checked, 0 problems\n"
    assert "files" in os.read(main, 65536).decode()
    os.close(main)
