"""The `touchstone-client` command line."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias, get_args

from touchstone_client import commands
from touchstone_client.api_key import read_api_key
from touchstone_client.client import Client
from touchstone_client.errors import InternalError, Problem, StorageFull, TouchstoneError, Unavailable
from touchstone_client.models import BitDepth, Label, OnMismatch, ReviewReason, Verdict
from touchstone_client.parameters import ReferenceOrder, ReviewDecision
from touchstone_client.retry import Timeouts

_DESCRIPTION = """Command-line client of a Touchstone inspection service.

  touchstone-client onboard bracket good/             add images of good parts to a product's references
  touchstone-client detect part.png                   inspect a part
  touchstone-client categories bracket --set false_reject_rate=0.02
  touchstone-client inspections --verdict anomalous --limit 20
  touchstone-client label 3f0c… good                  correct a false reject: the image becomes a reference
  touchstone-client label 3f0c… defect --class dent   confirm a defect, and name its class
  touchstone-client review --reason feedback          list parts that wait for an engineer's decision
  touchstone-client decide good 3f0c… 81d2…           decide them
  touchstone-client stations                          show which stations, gates and sinks work
  touchstone-client frame press-1 now.jpg             save what the station's camera sees
  touchstone-client watch --station press-1           print inspections as they are recorded

The service's URL is --url, $TOUCHSTONE_URL or http://127.0.0.1:8000. The API key, where one is needed, is
$TOUCHSTONE_KEY or the content of --key-file."""

_EXIT_CODES = """exit codes: 0 success, and every inspected part is normal; 1 a part is not normal, a reference was
refused, a label needs confirmation, or a camera's image has not arrived; 2 invalid input, for example an image that
cannot be used; 3 the service is unreachable or unavailable"""

Command: TypeAlias = Callable[[Client, argparse.Namespace], int]
AddCommand: TypeAlias = Callable[[str, Command, str], argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # which may be unable to write the name of a file
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    run: Command = options.run
    timeouts = Timeouts(read=options.timeout, total=options.total_timeout)
    try:
        with Client(options.url, api_key=_api_key(options), timeouts=timeouts) as client:
            code = run(client, options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 0 if run is commands.watch else 130
    except BrokenPipeError:  # whoever reads the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as of a process that SIGPIPE ended
    except (TouchstoneError, OSError, ValueError, ImportError) as error:  # ImportError: an unsupported kind of proxy
        commands.print_error(str(error))
        if isinstance(error, Problem):
            return 3 if isinstance(error, Unavailable | InternalError | StorageFull) else 2
        return 3 if isinstance(error, TouchstoneError) else 2


def _api_key(options: argparse.Namespace) -> str | None:
    """The API key from file or environment; other users of the machine could read it on a command line."""
    if options.key_file is not None:
        return read_api_key(options.key_file)
    return os.environ.get("TOUCHSTONE_KEY", "").strip() or None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="touchstone-client",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url = os.environ.get("TOUCHSTONE_URL", "http://127.0.0.1:8000")
    parser.add_argument("--url", default=url, help="base URL of the service")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="file that contains the API key")
    parser.add_argument("--timeout", type=_positive, default=60, metavar="S", help="read timeout in seconds (60)")
    parser.add_argument(
        "--total-timeout", type=_positive, metavar="S", help="limit in seconds including retries (none)"
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add_command(name: str, run: Command, description: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(name, help=description, description=description, epilog=_EXIT_CODES)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        command.set_defaults(run=run)
        return command

    for add_commands in (
        _add_inspecting,
        _add_products,
        _add_test_sets,
        _add_history,
        _add_review,
        _add_stations,
    ):
        add_commands(add_command)
    return parser


def _add_inspecting(add_command: AddCommand) -> None:
    """Inspecting images."""
    detect = add_command("detect", commands.detect, "Inspect images, one after the other.")
    detect.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="file, or folder of files")
    detect.add_argument("--category", help="compare with this category; default: the most similar one")
    detect.add_argument("--part-id", help="recorded with the inspection")
    detect.add_argument("--station", help="recorded with the inspection")
    _add_bit_depth(detect)
    detect.add_argument("--no-record", action="store_true", help="try out: leave history, yield and drift alone")
    detect.add_argument("--no-wait", action="store_true", help="print the result before it is recorded")
    detect.add_argument("--overlays", type=Path, metavar="FOLDER", help="write an image with the regions drawn in")


def _add_products(add_command: AddCommand) -> None:
    """References, categories and their geometry."""
    onboard = add_command("onboard", commands.onboard, "Add images of good parts to the references. Idempotent.")
    onboard.add_argument("category", help="of the parts; created if it is new")
    onboard.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="file, or folder of files")
    _add_bit_depth(onboard)
    _add_defect(onboard)
    onboard.add_argument("--on-mismatch", choices=get_args(OnMismatch), help="for images of other proportions")

    listing = "List references, or remove some."
    references = add_command("references", commands.references, listing)
    references.add_argument("category", nargs="?", help="one product; default: all")
    references.add_argument("--order", choices=get_args(ReferenceOrder), default="oldest", help="default: oldest first")
    references.add_argument("--text", help="contained in the file name, or the id")
    references.add_argument("--from-feedback", action="store_true", help="only those that feedback added")
    references.add_argument("--removed", action="store_true", help="those that were removed, instead")
    references.add_argument("--limit", type=_count, default=50, metavar="N", help="maximum number (50); 0: all")
    references.add_argument("--remove", nargs="+", type=int, metavar="ID", help="remove these instead of listing")

    advice = add_command("advice", commands.advice, "Show how fine images have to be inspected, and what that costs.")
    advice.add_argument("--category", help="whose images are meant, instead of a size")
    advice.add_argument("--width", type=int, help="of the images, in pixels")
    advice.add_argument("--height", type=int, help="of the images, in pixels")
    advice.add_argument("--references", type=int, metavar="N", help="references to count with")
    _add_defect(advice)

    categories = add_command("categories", commands.categories, "List categories, or show and change one.")
    categories.add_argument("name", nargs="?", help="one category; default: all")
    example = "change a setting, e.g. false_reject_rate=0.02, k=100, threshold=null"
    categories.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes", help=example)

    about = "Search few patches of each place instead of all references: less memory, quicker, with a bound on scores."
    condense = add_command("condense", commands.condense, about)
    condense.add_argument("category", help="the product")
    target = condense.add_mutually_exclusive_group()
    target.add_argument("--share", type=float, metavar="X", help="search so many, as a share of the references")
    target.add_argument("--bound", type=float, metavar="X", help="search as few as raise no score by more than this")
    target.add_argument("--undo", action="store_true", help="search all references again")

    about = "Show which part of a product's images is inspected, or set it from a mask image."
    region = add_command("region", commands.region, about)
    region.add_argument("category", help="the product")
    setting = region.add_mutually_exclusive_group()
    setting.add_argument("--mask", type=Path, metavar="FILE", help="inspect where this image is not black")
    setting.add_argument("--everywhere", action="store_true", help="inspect the whole image again")
    region.add_argument("--save", type=Path, metavar="FILE.png", help="write what is inspected as a mask, white")


def _add_test_sets(add_command: AddCommand) -> None:
    """Test sets, and what follows from them."""
    testing = "Put labelled images into a product's test set, and show what escapes and what is rejected though good."
    test_set = add_command("test-set", commands.test_set, testing)
    test_set.add_argument("category", help="the product")
    for kind in ("good", "defective"):
        text = f"images of {kind} parts that are no references, or folders of them"
        test_set.add_argument(f"--{kind}", nargs="+", type=Path, default=[], metavar="IMAGE", help=text)

    tuning = "Find out whether other settings separate a product's test set better, judged by cross-validation."
    tune = add_command("tune", commands.tune, tuning)
    tune.add_argument("category", help="the product; its test set needs 16 good and 8 defective images")
    tune.add_argument("--apply", action="store_true", help="change the settings if others are better")
    tune.add_argument("--poll-interval", type=_positive, default=1.0, metavar="S", help="seconds between requests (1)")

    rolling = "Give a product the settings and references again that an evaluation of its test set was made with."
    roll_back = add_command("roll-back", commands.roll_back, rolling)
    roll_back.add_argument("category", help="the product")
    text = "id of the evaluation, as test-set lists them; default: the one before the latest"
    roll_back.add_argument("evaluation", nargs="?", type=int, help=text)
    roll_back.add_argument("--dry-run", action="store_true", help="only show what has changed since")


def _add_history(add_command: AddCommand) -> None:
    """The history: listed, counted, exported, followed."""
    inspections = add_command("inspections", commands.inspections, "List recorded inspections, newest first.")
    _add_filters(inspections)
    _add_span(inspections)
    inspections.add_argument("--limit", type=_count, default=50, metavar="N", help="maximum number (50); 0: all")
    inspections.add_argument("--csv", action="store_true", help="print all of them as CSV")

    pareto = add_command("pareto", commands.pareto, "Count confirmed defects by class, the most frequent first.")
    _add_filters(pareto)
    _add_span(pareto)

    text = "Write labelled images and their references to a ZIP file that `touchstone evaluate` reads once unpacked."
    dataset = add_command("dataset", commands.dataset, text)
    dataset.add_argument("file", type=Path, metavar="FILE.zip", help="the file to write")
    dataset.add_argument("--test-set", metavar="CATEGORY", help="the test set of this category, instead of the history")
    _add_filters(dataset)
    _add_span(dataset)

    text = "Write a report of a lot or a shift: counts, yield, defect classes, defective parts with images."
    report = add_command("report", commands.report, text)
    report.add_argument("file", type=Path, metavar="FILE", help="ends in .pdf or .html")
    _add_filters(report)
    _add_span(report)
    report.add_argument("--limit", type=_count, default=100, metavar="N", help="defective parts with images (100)")
    report.add_argument(
        "--time-zone", default="UTC", metavar="NAME", help="of the times in it, e.g. Europe/Berlin (UTC)"
    )

    watch = add_command("watch", commands.watch, "Print inspections as they are recorded, until Ctrl-C.")
    _add_filters(watch)
    watch.add_argument("--poll-interval", type=_positive, default=1.0, metavar="S", help="seconds between requests (1)")
    watch.add_argument("--count", type=_count, metavar="N", help="stop after so many")


def _add_review(add_command: AddCommand) -> None:
    """What people decide about inspected parts."""
    label = add_command("label", commands.label, "Label an inspected part. A good part's image becomes a reference.")
    label.add_argument("inspection", help="its id")
    label.add_argument("label", choices=(*get_args(Label), "none"), help="none removes the label")
    label.add_argument("--confirm", action="store_true", help="proceed although it would move the threshold far")
    text = "of a defect, one of its category's defect_classes; '' removes it"
    label.add_argument("--class", dest="defect_class", metavar="NAME", help=text)
    label.add_argument("--comment", metavar="TEXT", help="on a defect; '' removes it")

    review = add_command("review", commands.review, "List parts that wait for an engineer's decision, newest first.")
    review.add_argument("--category")
    review.add_argument("--reason", choices=get_args(ReviewReason), help="why they wait")
    review.add_argument("--limit", type=_count, default=50, metavar="N", help="maximum number (50); 0: all")

    decide = add_command("decide", commands.decide, "Decide parts of the review queue, each for itself.")
    text = "good: a reference; defect: a label; dismiss: neither; reopen: take the decision back"
    decide.add_argument("decision", choices=get_args(ReviewDecision), help=text)
    decide.add_argument("inspections", nargs="+", metavar="INSPECTION", help="its id")
    decide.add_argument("--confirm", action="store_true", help="proceed although it would move a threshold far")


def _add_stations(add_command: AddCommand) -> None:
    """The stations of line agents."""
    text = "List the stations of line agents, with what does not work there."
    add_command("stations", commands.stations, text)

    text = "Save the newest image of a station's camera: 0 when there is one, 1 when none has arrived in time."
    frame = add_command("frame", commands.frame, text)
    frame.add_argument("station")
    frame.add_argument("file", type=Path, help="JPEG to write")
    frame.add_argument(
        "--wait", type=_not_negative, default=10.0, metavar="S", help="seconds for its agent to send one (10)"
    )


def _add_bit_depth(parser: argparse.ArgumentParser) -> None:
    text = "bits that the camera uses in files of 16 bits per channel; default: the category's setting"
    parser.add_argument("--bit-depth", type=int, choices=get_args(BitDepth), help=text)


def _add_defect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--smallest-defect", type=_positive, metavar="N", help="smallest defect that matters, in pixels"
    )
    parser.add_argument(
        "--millimetres-per-pixel", type=_positive, metavar="N", help="scale, for a defect in millimetres"
    )
    parser.add_argument("--cells", type=int, metavar="N", help="cells of the grid, at most")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--category")
    parser.add_argument("--station")
    parser.add_argument("--part-id")
    parser.add_argument("--verdict", choices=get_args(Verdict))
    parser.add_argument("--label", choices=get_args(Label))
    parser.add_argument("--class", dest="defect_class", metavar="NAME", help="of confirmed defects")


def _positive(text: str) -> float:
    if (value := _not_negative(text)) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number of 0 or more")
    return value


def _count(text: str) -> int:
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _time(text: str) -> datetime:
    """A time in ISO 8601, local unless it has an offset."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):  # the last two of years that local times cannot have
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31T06:00") from None


def _add_span(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=_time, metavar="TIME", help="first time, e.g. 2026-01-31T06:00")
    parser.add_argument("--until", type=_time, metavar="TIME", help="end time, exclusive")


if __name__ == "__main__":
    raise SystemExit(main())
