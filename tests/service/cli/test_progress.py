"""Progress of long commands without a terminal: lines on standard error, with count, rate and time left."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.progress import progress
from tests.helpers import trees
from tests.helpers.commands import environment, touchstone
from tests.helpers.part_folders import folder_of

_LINE = re.compile(r"(?P<what>.+): (?P<done>\d+) of (?P<total>\d+)(, [\d.]+ a second)?(, \d+:\d\d:\d\d left)?")


def test_every_long_command_reports_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert done.stdout.endswith(b"\n5 files checked, 0 problems\n")
    assert "files" in os.read(main, 65536).decode()
    os.close(main)


def test_the_time_left_is_right_where_items_are_done_in_bursts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with batches that take a minute each: their items are counted within seconds."""
    now = 0.0
    monkeypatch.setattr("rich.console.monotonic", lambda: now)
    monkeypatch.setattr("indexer.progress._SECONDS", 0.0)
    with progress() as shown:
        task = shown.task("images", 80)
        for _ in range(5):
            now += 60
            for _ in range(8):
                now += 0.2
                task.advance()
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("images: 40 of 80, 0.2 a second, 0:0"), last
    hours, minutes, seconds = map(int, re.findall(r"\d+", last.rpartition(",")[2]))
    assert 3600 * hours + 60 * minutes + seconds == pytest.approx(5 * 61.6, rel=0.35)


def test_what_was_begun_is_seen_to_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A log does not stop at 521 of 533; work that was too short for a line stays silent."""
    monkeypatch.setattr("indexer.progress._SECONDS", 0.0)
    with progress() as shown:
        long, short = shown.task("images", 3), shown.task("sheets", 1)
        long.advance()
        monkeypatch.setattr("indexer.progress._SECONDS", 3600.0)
        for _ in range(2):
            long.advance()
        short.advance()
        long.advance(0)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("images: 1 of 3")
    assert last.startswith("images: 3 of 3")
