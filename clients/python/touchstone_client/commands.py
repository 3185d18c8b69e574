"""What each command of `touchstone-client` does with a client and its options."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import cast

from touchstone_client.answers import Category, Detection, Inspection, ReferenceResult
from touchstone_client.client import Client
from touchstone_client.errors import ConfirmationNeeded, InternalError, PictureRefused, TooLarge, TouchstoneError
from touchstone_client.onboarding import Onboarded, Progress
from touchstone_client.parameters import InspectionQuery, SettingsChanges
from touchstone_client.pictures import IMAGE_SUFFIXES
from touchstone_client.tables import as_json, cell, table

_NAMED = 5  # of many, that are passed over


def detect(client: Client, given: argparse.Namespace) -> int:
    """Inspect pictures: 0 when all are normal, 1 when one is not, 2 when one cannot be used, 3 when one failed.

    What one picture is refused or fails for does not keep the others from being inspected; what ends the command, such
    as a service that went away, comes after the results so far.
    """
    found: list[Detection] = []
    code = 0
    if given.overlays is not None:
        given.overlays.mkdir(parents=True, exist_ok=True)
    files, missing = _files(given.pictures)
    try:
        for path in files:
            try:
                result = client.inspect(
                    path,
                    category=given.category,
                    part_id=given.part_id,
                    station=given.station,
                    overlay=given.overlays is not None,
                    bit_depth=given.bit_depth,
                )
            except (PictureRefused, TooLarge, InternalError, OSError) as error:
                complain(f"{path}: {(isinstance(error, OSError) and error.strerror) or error}")
                code = max(code, 3 if isinstance(error, InternalError) else 2)
                continue
            if result.overlay is not None:
                (given.overlays / f"{path.stem}-{result.id[:8]}.png").write_bytes(base64.b64decode(result.overlay))
            found.append(result)
    except TouchstoneError:
        if found:
            _show_detections(found, given.json)
        raise
    _show_detections(found, given.json)
    return max(code, 2 if missing else 0, int(any(each.verdict != "normal" for each in found)))


def _show_detections(found: Sequence[Detection], json: bool) -> None:
    if json:
        print(as_json(found))
        return
    headings = ("picture", "verdict", "score", "threshold", "regions", "category", "inspection")
    rows = [
        (each.filename, each.verdict, each.score, each.threshold, len(each.regions), each.category, each.id)
        for each in found
    ]
    print(table(headings, rows))
    _show_notices(found)


def _show_notices(results: Sequence[Detection | ReferenceResult]) -> None:
    """Each kind of notice once, by the first picture that has it, with how many do."""
    of_kind: dict[str, list[tuple[str, str]]] = {}
    for each in results:
        for notice in each.notices:
            of_kind.setdefault(notice.kind, []).append((each.filename, notice.detail))
    for said in of_kind.values():
        filename, detail = said[0]
        others = f", and of {len(said) - 1} others" if len(said) > 1 else ""
        print(f"Notice of {filename}{others}: {detail}", file=sys.stderr)


def onboard(client: Client, given: argparse.Namespace) -> int:
    """Onboard pictures: 0 when each is a reference now, 1 when some were refused, 2 when some are not there."""
    last: Progress | None = None

    def show(progress: Progress) -> None:
        nonlocal last
        last = progress
        if sys.stderr.isatty():
            end = "\n" if progress.done == progress.of else ""
            print(f"\r{progress.done} of {progress.of} pictures", end=end, file=sys.stderr, flush=True)

    files, missing = _files(given.pictures)
    try:
        done = client.onboard(given.category, files, progress=show, bit_depth=given.bit_depth)
    except TouchstoneError:
        if last is not None and not given.json:
            print(f"{given.category}: {_tally(last)}, {len(files) - last.done} not sent: run this again")
        raise
    if given.json:
        print(as_json(done))
    else:
        refused = [each for each in done.results if each.status == "refused"]
        if refused:
            print(
                table(("refused", "reason", "detail"), [(each.filename, each.reason, each.detail) for each in refused])
            )
        print(f"{done.category}: {_tally(done)}")
        _show_notices(done.results)
    return max(2 if missing else 0, int(done.refused > 0))


def _tally(done: Progress | Onboarded) -> str:
    return f"{done.added} added, {done.duplicates} there already, {done.refused} refused"


def categories(client: Client, given: argparse.Namespace) -> int:
    """Show categories, after changing settings of one if asked to."""
    if given.changes and given.name is None:
        raise ValueError("--set needs the name of a category")
    if given.name is None:
        found = client.categories()
    elif given.changes:
        found = (client.change_category(given.name, **_settings(given.changes)),)
    else:
        found = (client.category(given.name),)
    if given.json:
        print(as_json(found))
        return 0
    headings = ("category", "references", "calibration", "threshold", "false reject rate", "k", "rho")
    print(table(headings, [_category_row(each) for each in found]))
    return 0


def inspections(client: Client, given: argparse.Namespace) -> int:
    """Show the history."""
    matching = _query(given, _time(given.since), _time(given.until))
    if given.csv:
        print(client.inspections_csv(matching), end="")
        return 0
    found = list(islice(client.inspections(matching), given.limit or None))
    if given.json:
        print(as_json(found))
    else:
        print(table(_INSPECTION, [_inspection_row(each) for each in found]))
    return 0


def judge(client: Client, given: argparse.Namespace) -> int:
    """Say what a part was: 0 when that is kept, 1 when it should be confirmed first."""
    judgement = None if given.judgement == "none" else given.judgement
    try:
        judged = client.judge(given.inspection, judgement, confirm=given.confirm)
    except ConfirmationNeeded as held:
        print(as_json(held.effect) if given.json else f"{given.inspection}: {held}")
        return 1
    if given.json:
        print(as_json(judged))
    else:
        made = "" if judged.promoted_reference_id is None else f", reference {judged.promoted_reference_id}"
        print(f"{judged.id}: {judged.judgement or 'nothing said'}{made}")
    return 0


def watch(client: Client, given: argparse.Namespace) -> int:
    """Show inspections as they happen, a line each."""
    if not given.json:
        print("  ".join(_INSPECTION))
    for each in islice(client.watch(_query(given, None, None), every=given.every), given.count):
        print(as_json(each, indent=None) if given.json else "  ".join(map(cell, _inspection_row(each))), flush=True)
    return 0


_INSPECTION = ("time", "verdict", "score", "threshold", "category", "station", "part", "inspection")


def _inspection_row(each: Inspection) -> tuple[object, ...]:
    return (each.at, each.verdict, each.score, each.threshold, each.category, each.station, each.part_id, each.id)


def _category_row(each: Category) -> tuple[object, ...]:
    calibration, settings = each.calibration, each.settings
    threshold = calibration.threshold if settings.threshold is None else settings.threshold
    return (
        each.name, each.references, calibration.state, threshold, settings.false_reject_rate, settings.k, settings.rho,
    )  # fmt: skip


def _query(given: argparse.Namespace, since: datetime | None, until: datetime | None) -> InspectionQuery:
    return InspectionQuery(
        given.category, given.verdict, given.station, given.part_id, since=since, until=until
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    """A time as a person writes it, in this machine's zone unless it names one. ValueError."""
    return None if text is None else datetime.fromisoformat(text).astimezone()


def _settings(given: Sequence[str]) -> SettingsChanges:
    """What `NAME=VALUE`s change; which names there are and what they may be is for the service to say. ValueError."""
    changes = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            if not equals:
                raise ValueError
            changes[name] = json.loads(value)
        except ValueError:
            raise ValueError(f"--set {text}: write NAME=VALUE, for example false_reject_rate=0.02") from None
    return cast(SettingsChanges, changes)


def _files(given: Iterable[Path]) -> tuple[list[Path], bool]:
    """The files that are meant, folders replaced by their pictures in order of name, and whether some are missing.

    Says what is missing, and what of a folder is passed over. ValueError when nothing is left.
    """
    files: list[Path] = []
    complaints = []
    for path in given:
        if path.is_dir():
            inside = sorted(path.iterdir())
            pictures = [each for each in inside if _is_picture(each)]
            if others := [each.name for each in inside if not _is_picture(each)]:
                more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
                complain(f"{path}: passed over, since not image files: {', '.join(others[:_NAMED])}{more}")
            if not pictures:
                complaints.append(f"{path}: no pictures in this folder")
            files.extend(pictures)
        elif path.is_file():
            files.append(path)
        else:
            complaints.append(f"{path}: no such file")
    if not files:
        raise ValueError("; ".join(complaints))
    for complaint in complaints:
        complain(complaint)
    return files, bool(complaints)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def complain(what: str) -> None:
    """Say on standard error what is wrong, in one line."""
    print(f"touchstone-client: {' '.join(what.split())}", file=sys.stderr)
