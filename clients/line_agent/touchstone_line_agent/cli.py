"""The `touchstone-line-agent` command line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sqlite3
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from touchstone_line_agent.config import Config, InvalidConfig, load
from touchstone_line_agent.part_store import StoreUnusable
from touchstone_line_agent.preflight import missing_resources

_DESCRIPTION = """Runs on the camera PC of a production line: captures an image of each part, has a Touchstone service
inspect it, controls the reject gate within a deadline, and delivers a record of every part.

  touchstone-line-agent example > line.toml     print a commented example configuration
  touchstone-line-agent check line.toml         report errors, one line each
  touchstone-line-agent run line.toml           run until SIGTERM"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 with one line per error on standard error."""
    parser = argparse.ArgumentParser(
        prog="touchstone-line-agent", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, description in (
        ("run", "run the stations of a configuration"),
        ("check", "report errors in a configuration, and files and folders that are missing"),
    ):
        command = commands.add_parser(name, help=description, description=description)
        command.add_argument("file", type=Path, help="TOML file")
    commands.add_parser("example", help="print a commented example configuration")
    options = parser.parse_args(arguments)
    if options.command == "example":
        print(files("touchstone_line_agent").joinpath("example.toml").read_text(encoding="utf-8"), end="")
        return 0
    try:
        config = load(options.file)
    except InvalidConfig as error:
        return _fail(error.lines)
    return _check(options.file, config) if options.command == "check" else _run(config)


def _check(file: Path, config: Config) -> int:
    if missing := missing_resources(config):
        return _fail([f"{file}: {line}" for line in missing])
    stations = (f"{station.name} ({station.source.kind}, {len(station.sink)} sinks)" for station in config.station)
    print(f"{file}: ok: {', '.join(stations)}")
    return 0


def _run(config: Config) -> int:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # the agent itself reports a missing camera, once
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from touchstone_line_agent import (
        agent,
    )  # OpenCV and asyncua take seconds to import, which `check` need not wait for

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for library in ("asyncua", "pymodbus"):  # the agent itself reports their failures, once and with the gate's name
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        asyncio.run(agent.run(config))
    except (OSError, StoreUnusable, sqlite3.Error, ValueError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            return _fail([f"{error.filename}: {error.strerror}"])
        return _fail([str(error)])
    return 0


def _fail(lines: list[str]) -> int:
    for line in lines:
        print(f"touchstone-line-agent: {' '.join(line.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
