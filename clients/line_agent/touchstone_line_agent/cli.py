"""The `touchstone-line-agent` command."""

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

from touchstone_line_agent.checking import find_missing
from touchstone_line_agent.config import Config, ConfigInvalid, load

_ABOUT = """Runs on the camera PC of a line: takes a picture of each part, asks a Touchstone service, works the reject
gate in time, and keeps every part on disk until its record has reached every sink.

  touchstone-line-agent example > line.toml     a file to begin with, every table explained
  touchstone-line-agent check line.toml         what is wrong with it, one line each
  touchstone-line-agent run line.toml           until SIGTERM"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 with one line per reason on standard error."""
    parser = argparse.ArgumentParser(
        prog="touchstone-line-agent", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, about in (
        ("run", "run the stations of a file"),
        ("check", "say what is wrong with a file, and what it names that is not there"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("file", type=Path, help="TOML file")
    commands.add_parser("example", help="print a file to begin with")
    given = parser.parse_args(arguments)
    if given.command == "example":
        print(files("touchstone_line_agent").joinpath("example.toml").read_text(encoding="utf-8"), end="")
        return 0
    try:
        config = load(given.file)
    except ConfigInvalid as error:
        return _fail(error.lines)
    if given.command == "check":
        if missing := find_missing(config):
            return _fail([f"{given.file}: {line}" for line in missing])
        print(f"{given.file}: fine: {', '.join(_describe(config))}")
        return 0
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # of a camera that is away, the agent tells once
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from touchstone_line_agent import agent  # OpenCV and asyncua take seconds to import; check should not

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for chatty in ("asyncua", "pymodbus"):  # what they fail at, we say ourselves, once and with the gate's name
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    try:
        asyncio.run(agent.run(config))
    except (OSError, sqlite3.Error, ValueError) as error:
        return _fail(
            [
                str(error)
                if not isinstance(error, OSError) or error.filename is None
                else f"{error.filename}: {error.strerror}"
            ]
        )
    return 0


def _describe(config: Config) -> list[str]:
    return [f"{each.name} ({each.source.kind}, {len(each.sink)} sinks)" for each in config.station]


def _fail(lines: list[str]) -> int:
    for line in lines:
        print(f"touchstone-line-agent: {' '.join(line.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
