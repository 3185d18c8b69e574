"""The `touchstone-client` command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from touchstone_client import commands
from touchstone_client.access_key import read_key
from touchstone_client.answers import BitDepth
from touchstone_client.client import Client
from touchstone_client.errors import InternalError, Problem, StorageFull, TouchstoneError, Unavailable
from touchstone_client.policy import Timeouts

_ABOUT = """Talk to a Touchstone inspection service.

  touchstone-client onboard bracket good/             teach it a product: pictures of good parts
  touchstone-client detect part.png                   is this part good?
  touchstone-client categories bracket --set false_reject_rate=0.02
  touchstone-client inspections --verdict anomalous --limit 20
  touchstone-client judge 3f0c… good                  this is fine: never reject it again
  touchstone-client watch --station press-1           inspections as they happen

The service is at --url, or at $TOUCHSTONE_URL, or at http://127.0.0.1:8000. Where it wants an access key, put the key
into $TOUCHSTONE_KEY or into a file named by --key-file."""

_CODES = """exit codes: 0 done, and every part inspected is normal; 1 a part is not normal, a reference was refused or
a judgement held; 2 bad input, for example a picture that cannot be used; 3 the service cannot be reached,
or cannot do it now"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = _parser().parse_args(arguments)
    run: Callable[[Client, argparse.Namespace], int] = given.run
    try:
        with Client(given.url, key=_key(given), timeouts=Timeouts(read=given.timeout, total=given.patience)) as client:
            return run(client, given)
    except (
        TouchstoneError,
        OSError,
        ValueError,
        ImportError,
    ) as error:  # ImportError: a proxy that httpx cannot speak to
        commands.complain(str(error))
        if isinstance(error, Problem):
            return 3 if isinstance(error, Unavailable | InternalError | StorageFull) else 2
        return 3 if isinstance(error, TouchstoneError) else 2
    except KeyboardInterrupt:
        return 0 if given.run is commands.watch else 130


def _key(given: argparse.Namespace) -> str | None:
    """The access key, by file or environment: on a command line, other users of the machine could read it."""
    if given.key_file is not None:
        return read_key(given.key_file)
    return os.environ.get("TOUCHSTONE_KEY", "").strip() or None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="touchstone-client", description=_ABOUT, epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--url", default=os.environ.get("TOUCHSTONE_URL", "http://127.0.0.1:8000"), help="address of the service"
    )
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="file that holds the access key")
    parser.add_argument("--timeout", type=float, default=60, metavar="S", help="seconds to wait for an answer (60)")
    parser.add_argument("--patience", type=float, metavar="S", help="seconds in all, with every try (no bound)")
    commands_of = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Client, argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        added = commands_of.add_parser(name, help=about, description=about, epilog=_CODES)
        added.add_argument("--json", action="store_true", help="JSON instead of a table")
        added.set_defaults(run=run)
        return added

    detect = command("detect", commands.detect, "Inspect pictures, one after the other.")
    detect.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="file, or folder of files")
    detect.add_argument("--category", help="compare with this category only; else the most similar one is found")
    detect.add_argument("--part-id", help="kept with the inspection")
    detect.add_argument("--station", help="kept with the inspection")
    _add_bit_depth(detect)
    detect.add_argument("--overlays", type=Path, metavar="FOLDER", help="draw what was found, one PNG a picture")

    onboard = command("onboard", commands.onboard, "Make pictures of good parts references. Safe to repeat.")
    onboard.add_argument("category", help="of the parts; created if it is new")
    onboard.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="file, or folder of files")

    _add_bit_depth(onboard)

    categories = command("categories", commands.categories, "List categories, or look at one and change its settings.")
    categories.add_argument("name", nargs="?", help="one category; all by default")
    categories.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="changes",
        help="change a setting, e.g. false_reject_rate=0.02, k=100, threshold=null",
    )  # fmt: skip

    inspections = command("inspections", commands.inspections, "List the history, newest first.")
    _add_filters(inspections)
    inspections.add_argument("--since", metavar="TIME", help="not before, e.g. 2026-01-31T06:00")
    inspections.add_argument("--until", metavar="TIME", help="before")
    inspections.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (50); 0 for all")
    inspections.add_argument("--csv", action="store_true", help="everything that matches, as CSV")

    judge = command("judge", commands.judge, "Say what a part was. A good part's picture becomes a reference.")
    judge.add_argument("inspection", help="its id")
    judge.add_argument("judgement", choices=("good", "defect", "none"), help="none takes back what was said")
    judge.add_argument(
        "--confirm", action="store_true", help="make it a reference although it would move the threshold far"
    )

    watch = command("watch", commands.watch, "Show inspections as they happen, until Ctrl-C.")
    _add_filters(watch)
    watch.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between two looks (1)")
    watch.add_argument("--count", type=int, metavar="N", help="stop after so many")
    return parser


def _add_bit_depth(parser: argparse.ArgumentParser) -> None:
    about = "bits that the camera puts into files of 16 a channel; else as the category has it"
    parser.add_argument("--bit-depth", type=int, choices=get_args(BitDepth), help=about)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--category")
    parser.add_argument("--station")
    parser.add_argument("--part-id")
    parser.add_argument("--verdict", choices=("normal", "anomalous", "unfamiliar", "uncalibrated"))


if __name__ == "__main__":
    raise SystemExit(main())
