"""Commands as processes: signals in the middle of their work, and output that nobody takes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.commands import environment, indexed, touchstone
from tests.helpers.part_folders import folder_of

_WAIT = 120  # seconds, for a machine that has other things to do


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two references."""
    return indexed(tmp_path / "data", folder_of(tmp_path / "parts", ".", disc=2))


def process(data: Path, *command: str | Path, stdout: int) -> subprocess.Popen[str]:
    """`touchstone …`, running in a fresh interpreter beside its data folder."""
    arguments = [sys.executable, "-m", "service.cli", *map(str, command)]
    variables = {**environment(data), "PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(arguments, env=variables, cwd=data.parent, stdout=stdout, stderr=subprocess.PIPE, text=True)


@contextmanager
def read_by(running: subprocess.Popen[str], fifo: Path) -> Iterator[None]:
    """While the block runs, the process is reading a named pipe into which nothing is written."""
    end, descriptor = time.monotonic() + _WAIT, None
    while descriptor is None:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            time.sleep(0.02)
    try:
        _wait_until_asleep(running.pid)
        yield
    finally:
        running.kill()
        os.close(descriptor)


def _wait_until_asleep(pid: int) -> None:
    """Return once a process's first thread waits for something: on a busy machine it has not begun to read before."""
    end, asleep = time.monotonic() + _WAIT, 0
    while asleep < 10:
        assert time.monotonic() < end
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" else 0
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(
    "command", [("backup", "target"), ("export", "disc", "--to", "target"), ("verify",)], ids=lambda command: command[0]
)
def test_a_signal_ends_a_command_with_one_line_and_nothing_half_done(
    data: Path, command: tuple[str, ...], number: signal.Signals
) -> None:
    original = sorted((data / "originals").rglob("*.png"))[-1]
    content = original.read_bytes()
    original.unlink()
    os.mkfifo(original)  # whoever reads it is in the middle of its work
    before = set(data.parent.iterdir())
    running = process(data, *command, stdout=subprocess.PIPE)
    with read_by(running, original):
        running.send_signal(number)
        output, errors = running.communicate(timeout=_WAIT)
    assert running.returncode == 128 + number, errors
    assert (output, errors) == ("", f"touchstone: ended by {number.name}\n")
    left = set(data.parent.iterdir()) - before
    if command[0] == "backup":
        assert not [path for path in data.parent.glob("target/**/*") if path.name.endswith((".files.gz", ".tmp"))]
    else:
        assert left == set()
    original.unlink()
    original.write_bytes(content)
    target = data.parent / "target"
    again = touchstone(*(target if word == "target" else word for word in command), data=data)
    assert again.exit_code == 0, again.output


def test_an_interrupted_restore_is_none_and_is_completed_by_another(data: Path) -> None:
    saved, new = data.parent / "saved", data.parent / "new"
    assert touchstone("backup", saved, data=data).exit_code == 0
    copy = sorted((saved / "files/originals").rglob("*.png"))[-1]
    content = copy.read_bytes()
    copy.unlink()
    os.mkfifo(copy)
    running = process(data, "restore", saved, "--data", new, stdout=subprocess.PIPE)
    with read_by(running, copy):
        second = touchstone("restore", saved, data=new)
        assert second.exit_code == 2
        assert second.stderr == f"touchstone: another process restores into {new}\n"
        running.send_signal(signal.SIGTERM)
        assert running.communicate(timeout=_WAIT) == ("", "touchstone: ended by SIGTERM\n")
    copy.unlink()
    copy.write_bytes(content)
    assert touchstone("verify", data=new).exit_code == 2
    assert touchstone("restore", saved, data=new).exit_code == 0
    assert touchstone("verify", data=new).exit_code == 0
    assert touchstone("restore", saved, data=new).exit_code == 2


def test_a_closed_pipe_ends_a_command_quietly(data: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    running = process(data, "keys", "--help", stdout=writing)
    os.close(writing)
    _, errors = running.communicate(timeout=_WAIT)
    assert (running.returncode, errors) == (74, "")


def test_output_that_cannot_be_written_is_told_from_work_that_was_not_done(data: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    running = process(data, "keys", "create", "press-4", stdout=full)
    os.close(full)
    _, errors = running.communicate(timeout=_WAIT)
    assert errors == "touchstone: the output cannot be written: No space left on device\n"
    assert running.returncode == 74
    assert "press-4" in touchstone("keys", "list", data=data).stdout


def test_a_command_without_output_and_errors_to_write_to_does_its_work(data: Path) -> None:
    command = shlex.join([sys.executable, "-m", "service.cli", "index", str(data.parent / "parts")])
    done = subprocess.run(["sh", "-c", f"{command} >&- 2>&-"], env=environment(data), timeout=_WAIT)
    assert done.returncode == 0
