"""`make demo`: starts a real server on a free port, runs the tour against it and stops it."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clients.demo.run import next_steps, options, read_plan, tour

_STOP_SECONDS = 20
_LOG_LINES = 15


@contextmanager
def serving(data: Path, log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server process on a data folder, for as long as the block runs; its output goes to `log`."""
    address = ["--host", "127.0.0.1", "--port", str(port), "--open"]
    command = [sys.executable, "-m", "service", *address, "--data", str(data)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _report_death(log: Path, code: int) -> None:
    print(f"demo: the server stopped with exit code {code}; the end of {log}:", file=sys.stderr)
    for line in log.read_text(errors="replace").splitlines()[-_LOG_LINES:]:
        print(f"  {line}", file=sys.stderr)


def _watch(process: subprocess.Popen[bytes], log: Path, over: threading.Event) -> None:
    """End the demo at once when its server dies."""
    code = process.wait()
    if not over.is_set():
        _report_death(log, code)
        os._exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: server and tour in one."""
    parser = argparse.ArgumentParser(prog="python -m clients.demo", description=__doc__, parents=[options()])
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    port, log, over = free_port(), given.out / "server.log", threading.Event()
    print(f"Starting a server on port {port}; its log is {log}", flush=True)
    with serving(given.out / "data", log, port) as process:
        threading.Thread(target=_watch, args=(process, log, over), daemon=True).start()
        try:
            code = tour(f"http://127.0.0.1:{port}", read_plan(given), patience=180)
        finally:
            over.set()
    if code == 0:
        print(next_steps(given.out))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
