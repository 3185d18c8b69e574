"""`make demo`: starts a server on a free port, runs the demo on it and stops it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from clients.demo.run import next_steps, option_parser, read_plan, run_demo
from clients.service_process import free_port, service_process

_LOG_LINES = 15


def _report_exit(log: Path, code: int) -> None:
    print(f"demo: the server exited with code {code}; the end of {log}:", file=sys.stderr)
    for line in log.read_text(errors="replace").splitlines()[-_LOG_LINES:]:
        print(f"  {line}", file=sys.stderr)


def _watch(process: subprocess.Popen[bytes], log: Path, finished: threading.Event) -> None:
    """End the demo at once when its server exits."""
    code = process.wait()
    if not finished.is_set():
        _report_exit(log, code)
        os._exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: a server and the demo on it."""
    parser = argparse.ArgumentParser(prog="python -m clients.demo", description=__doc__, parents=[option_parser()])
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    port, log, finished = free_port(), options.out / "server.log", threading.Event()
    print(f"Starting a server on port {port}; its log is {log}", flush=True)
    with service_process(options.out / "data", log, port) as process:
        threading.Thread(target=_watch, args=(process, log, finished), daemon=True).start()
        try:
            code = run_demo(f"http://127.0.0.1:{port}", read_plan(options), timeout=180)
        finally:
            finished.set()
    if code == 0:
        print(next_steps(options.out))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
