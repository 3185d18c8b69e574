"""The subcommands of `touchstone-client`: each calls the service, prints the result and returns an exit code."""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import cast

from touchstone_client.client import Client
from touchstone_client.errors import ConfirmationNeeded, ImageRejected, InternalError, TooLarge, TouchstoneError
from touchstone_client.images import IMAGE_SUFFIXES
from touchstone_client.models import (
    Category,
    Detection,
    Evaluation,
    GeometryChoice,
    Inspection,
    ReferenceResult,
    SettingsChanges,
    Station,
)
from touchstone_client.onboarding import OnboardingProgress, OnboardingResult
from touchstone_client.parameters import DefectDetails, InspectionFilter, ReportFormat
from touchstone_client.tables import format_cell, format_json, format_table

_REPORT_FORMATS: dict[str, ReportFormat] = {".pdf": "pdf", ".html": "html", ".htm": "html"}
_FRAME_POLL_S = 0.5
_MAX_LISTED = 5  # names of ignored files in one message
_MAX_STEM = 55  # characters, of up to four bytes each, in a file's name of at most 255 bytes


def detect(client: Client, options: argparse.Namespace) -> int:
    """Inspect images: 0 when all are normal, 1 when one is not, 2 when one cannot be used, 3 when one failed.

    An image that is rejected or fails, or an overlay that cannot be written, is reported, and the next one inspected.
    What ends the command, such as a service that went away, is raised after the results so far have been printed.
    """
    detections: list[Detection] = []
    code = 0
    if options.overlays is not None:
        options.overlays.mkdir(parents=True, exist_ok=True)
    files, missing = _collect_files(options.images)
    try:
        for path in files:
            try:
                detection = client.inspect(
                    path,
                    category=options.category,
                    part_id=options.part_id,
                    station=options.station,
                    overlay=options.overlays is not None,
                    bit_depth=options.bit_depth,
                    record=not options.no_record,
                    wait_for_recording=not options.no_wait,
                )
                detections.append(detection)
                if detection.overlay is not None:
                    overlay = options.overlays / f"{path.stem[:_MAX_STEM]}-{detection.id[:8]}.png"
                    overlay.write_bytes(base64.b64decode(detection.overlay))
            except OSError as error:
                print_error(f"{error.filename or path}: {error.strerror or error}")
                code = max(code, 2)
            except (ImageRejected, TooLarge, InternalError) as error:
                print_error(f"{path}: {error}")
                code = max(code, 3 if isinstance(error, InternalError) else 2)
    except (TouchstoneError, KeyboardInterrupt):
        if detections:
            _print_detections(detections, options.json)
        raise
    _print_detections(detections, options.json)
    return max(code, 2 if missing else 0, int(any(detection.verdict != "normal" for detection in detections)))


def _print_detections(detections: Sequence[Detection], as_json: bool) -> None:
    if as_json:
        print(format_json(detections))
        return
    headings = ("image", "verdict", "score", "threshold", "regions", "category", "inspection")
    rows = [
        (
            detection.filename,
            detection.verdict,
            detection.score,
            detection.threshold,
            len(detection.regions),
            detection.category,
            detection.id,
        )
        for detection in detections
    ]
    print(format_table(headings, rows))
    _print_notices(detections)
    _print_advice({detection.category: detection.advice for detection in detections})


def _print_advice(by_category: Mapping[str, str | None]) -> None:
    """Print what to do where a category cannot have verdicts yet."""
    for category, advice in by_category.items():
        if advice is not None:
            print(f"{category}: {advice}", file=sys.stderr)


def _print_notices(results: Sequence[Detection | ReferenceResult]) -> None:
    """Print each kind of notice once: that of the first image, and how many other images have it."""
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for result in results:
        for notice in result.notices:
            by_kind.setdefault(notice.kind, []).append((result.filename, notice.detail))
    for notices in by_kind.values():
        filename, detail = notices[0]
        others = f" and {len(notices) - 1} others" if len(notices) > 1 else ""
        print(f"{filename}{others}: {detail}", file=sys.stderr)


def onboard(client: Client, options: argparse.Namespace) -> int:
    """Add references: 0 when every image is a reference now, 1 when some were rejected, 2 when some are missing."""
    last: OnboardingProgress | None = None

    def show(progress: OnboardingProgress) -> None:
        nonlocal last
        last = progress
        if sys.stderr.isatty():
            end = "\n" if progress.done == progress.total else ""
            print(f"\r{progress.done} of {progress.total} images", end=end, file=sys.stderr, flush=True)

    files, missing = _collect_files(options.images)
    try:
        result = client.onboard(
            options.category,
            files,
            bit_depth=options.bit_depth,
            cells=options.cells,
            smallest_defect=options.smallest_defect,
            millimetres_per_pixel=options.millimetres_per_pixel,
            on_mismatch=options.on_mismatch,
            progress=show,
        )
    except (TouchstoneError, KeyboardInterrupt):
        if last is not None and sys.stderr.isatty():
            print(file=sys.stderr)  # ends the line of the progress
        if last is not None and not options.json:
            unsent = len(files) - last.done
            print(f"{options.category}: {_summary(last)}, {unsent} not sent: run the command again")
        raise
    if options.json:
        print(format_json(result))
    else:
        rejected = [
            (upload.filename, upload.reason, upload.detail) for upload in result.results if upload.status == "rejected"
        ]
        if rejected:
            print(format_table(("rejected", "reason", "detail"), rejected))
        print(f"{result.category}: {_summary(result)}")
        _print_notices(result.results)
        if result.calibration is not None:
            _print_advice({result.category: result.calibration.advice})
    return max(2 if missing else 0, int(result.rejected > 0))


def _summary(counts: OnboardingProgress | OnboardingResult) -> str:
    return f"{counts.added} added, {counts.duplicates} duplicates, {counts.rejected} rejected"


def advice(client: Client, options: argparse.Namespace) -> int:
    """Show the geometry that it takes to see a defect, and its cost."""
    options_set = {
        "cells": options.cells,
        "smallest_defect": options.smallest_defect,
        "millimetres_per_pixel": options.millimetres_per_pixel,
    }
    choice = cast(GeometryChoice, {name: value for name, value in options_set.items() if value is not None})
    advice = client.geometry_advice(
        category=options.category,
        width=options.width,
        height=options.height,
        references=options.references,
        **choice,
    )
    if options.json:
        print(format_json(advice))
        return 0
    _, _, width, height = advice.geometry.window
    rows, columns = advice.geometry.grid
    headings = ("inspected at", "cells", "smallest defect", "encode ms", "search ms", "MB a reference", "MB in all")
    costs = (advice.encode_ms, advice.search_ms, advice.reference_bytes / 1e6, advice.memory_bytes / 1e6)
    print(format_table(headings, [(f"{width} x {height}", f"{rows} x {columns}", advice.smallest_defect, *costs)]))
    return 0


def categories(client: Client, options: argparse.Namespace) -> int:
    """List categories, or change settings of one."""
    if options.changes and options.name is None:
        raise ValueError("--set needs the name of a category")
    if options.name is None:
        categories = client.categories()
    elif options.changes:
        categories = (client.update_category(options.name, **_settings(options.changes)),)
    else:
        categories = (client.category(options.name),)
    if options.json:
        print(format_json(categories))
        return 0
    headings = ("category", "references", "calibration", "threshold", "false reject rate", "k", "rho", "drift")
    print(format_table(headings, [_category_row(category) for category in categories]))
    _print_advice({category.name: category.calibration.advice for category in categories})
    return 0


def _category_row(category: Category) -> tuple[object, ...]:
    calibration, settings = category.calibration, category.settings
    threshold = calibration.threshold if settings.threshold is None else settings.threshold
    search = (settings.false_reject_rate, settings.k, settings.rho)
    drift = None if category.drift is None else category.drift.state
    return (category.name, category.references, calibration.state, threshold, *search, drift)


def references(client: Client, options: argparse.Namespace) -> int:
    """List or remove references: 1 when an id to remove is of no reference."""
    if options.remove:
        done = client.remove_references(options.remove)
        print(format_json(done) if options.json else f"{len(done.removed)} removed")
        for reference_id in done.unknown:
            print_error(f"there is no reference {reference_id}")
        return int(bool(done.unknown))
    listed = client.references(
        options.category,
        removed=options.removed,
        from_feedback=options.from_feedback,
        order=options.order,
        text=options.text,
    )
    references = list(islice(listed, options.limit or None))
    if options.json:
        print(format_json(references))
        return 0
    headings = ("id", "category", "file", "added", "inspection")
    rows = [
        (str(reference.id), reference.category, reference.filename, reference.added_at, reference.inspection_id)
        for reference in references
    ]
    print(format_table(headings, rows))
    return 0


def condense(client: Client, options: argparse.Namespace) -> int:
    """Show a category's coreset, have one made in the background, or give it up."""
    if options.undo:
        coreset = client.search_all(options.category).coreset
    elif options.share is not None or options.bound is not None:
        coreset = client.condense(options.category, share=options.share, bound=options.bound)
    else:
        coreset = client.category(options.category).coreset
    if options.json:
        print(format_json(coreset))
        return 0
    if coreset is None:
        print(f"{options.category}: all references are searched")
        return 0
    headings = ("category", "state", "references", "patches", "bound", "beside", "done")
    figures = (coreset.references, coreset.patches, coreset.bound, str(coreset.beside), coreset.progress)
    print(format_table(headings, [(options.category, coreset.state, *figures)]))
    if coreset.error is not None:
        print_error(coreset.error)
    return 0


def region(client: Client, options: argparse.Namespace) -> int:
    """Show or set a category's region of interest: 2 when a file cannot be read or written."""
    if options.mask is not None:
        category = client.set_mask(options.category, options.mask)
    elif options.everywhere:
        category = client.update_category(options.category, region_of_interest=None)
    else:
        category = client.category(options.category)
    if options.save is not None:
        options.save.write_bytes(client.mask(options.category))
    inspected = category.geometry.inspected
    if options.json:
        print(format_json(inspected))
        return 0
    chosen = inspected.region
    areas = (None, None) if chosen is None else (len(chosen.polygons), len(chosen.ignored))
    headings = ("category", "inspected share", "inspected areas", "ignored areas")
    print(format_table(headings, [(category.name, inspected.fraction, *areas)]))
    return 0


def test_set(client: Client, options: argparse.Namespace) -> int:
    """Add labelled images, and show how the test set went: 0, 1 when images were rejected, 2 when files are missing."""
    rejected, missing = [], False
    for paths, defective in ((options.good, False), (options.defective, True)):
        if paths:
            files, lacks = _collect_files(paths)
            missing = missing or lacks
            results = client.add_labelled_images(options.category, files, defective=defective)
            rejected += [result for result in results if result.status == "rejected"]
    for result in rejected:
        print_error(f"{result.filename}: {result.detail}")
    evaluations = client.evaluations(options.category)
    if options.json:
        print(format_json(evaluations))
    else:
        figures = ("recall", "precision", "escapes", "false rejects", "auroc")
        headings = ("started", "images", "done", *figures, "evaluation")
        print(format_table(headings, [_evaluation_row(evaluation) for evaluation in evaluations]))
    return max(2 if missing else 0, int(bool(rejected)))


def _evaluation_row(evaluation: Evaluation) -> tuple[object, ...]:
    summary, change = evaluation.summary, evaluation.change
    escapes, rejects = str(summary.missed), str(summary.rejected)
    if change is not None:
        escapes += f" ({len(change.newly_missed) - len(change.no_longer_missed):+d})"
        rejects += f" ({len(change.newly_rejected) - len(change.no_longer_rejected):+d})"
    figures = (summary.recall, summary.precision, escapes, rejects, summary.auroc)
    return (evaluation.started_at, evaluation.images, evaluation.done, *figures, evaluation.id)


def tune(client: Client, options: argparse.Namespace) -> int:
    """Tune a category's settings: 0 when that came to an end, 1 when it could not."""
    tuning = client.start_tuning(options.category).tuning
    while tuning is not None and tuning.finished_at is None:
        time.sleep(options.poll_interval)
        tuning = client.tuning(options.category).tuning
    if tuning is None:
        raise ValueError("the tuning was cancelled")
    if options.json:
        print(format_json(tuning))
    if tuning.result is None:
        print_error(tuning.error or "no result")
        return 1
    result = tuning.result
    if not options.json:
        gain = f"{result.gain:+.3f}, between {result.low:+.3f} and {result.high:+.3f}"
        print(f"AUROC now: {result.auroc:.3f}; by choosing among {result.candidates} settings: {gain}")
        if not result.better:
            print("nothing that was tried is better than the present settings beyond the uncertainty")
        for name, value in result.changes.items() if result.better else ():
            print(f"{name}: {json.dumps(tuning.settings[name])} → {json.dumps(value)}")
    if options.apply and result.better:
        client.update_category(options.category, **cast(SettingsChanges, result.changes))
    return 0


def roll_back(client: Client, options: argparse.Namespace) -> int:
    """Roll a category back to an evaluation: 0, 1 when a reference could not be restored. ValueError without one."""
    evaluation_id = options.evaluation
    if evaluation_id is None:
        earlier = [run for run in client.evaluations(options.category) if run.finished_at is not None][1:]
        if not earlier:
            raise ValueError(f"{options.category} has no evaluation before the latest: see touchstone-client test-set")
        evaluation_id = earlier[0].id
    since = client.changes_since(options.category, evaluation_id)
    done = None if options.dry_run else client.roll_back(options.category, evaluation_id)
    if options.json:
        print(format_json(since if done is None else done))
    else:
        will = "would be" if done is None else "are"
        for name, value in since.then.items():
            print(f"{name}: {json.dumps(since.now[name])} → {json.dumps(value)}")
        print(f"{len(since.added)} references added since evaluation {evaluation_id} {will} removed")
        print(f"{len(since.removed) if done is None else done.restored} references removed since then {will} restored")
    if since.encoder_changed:
        print_error("the encoder was changed since: `touchstone rebuild` on the server changes it back")
    if since.geometry_changed:
        print_error("the geometry was changed since: set it again, which encodes all references anew")
    for lost in () if done is None else done.lost:
        print_error(f"{lost.filename}: {lost.detail}")
    return int(done is not None and bool(done.lost))


def inspections(client: Client, options: argparse.Namespace) -> int:
    """List recorded inspections."""
    filter = _filter(options, options.since, options.until)
    if options.csv:
        print(client.inspections_csv(filter), end="")
        return 0
    inspections = list(islice(client.inspections(filter), options.limit or None))
    if options.json:
        print(format_json(inspections))
    else:
        print(format_table(_INSPECTION_HEADINGS, [_inspection_row(inspection) for inspection in inspections]))
    return 0


def pareto(client: Client, options: argparse.Namespace) -> int:
    """Count confirmed defects by class."""
    counted = client.pareto(_filter(options, options.since, options.until))
    if options.json:
        print(format_json(counted))
        return 0
    rows = [(bar.defect_class, bar.count, f"{bar.share:.1%}", f"{bar.cumulative_share:.1%}") for bar in counted.bars]
    print(format_table(("class", "defects", "share", "cumulative"), rows))
    return 0


def report(client: Client, options: argparse.Namespace) -> int:
    """Write a report to a file, whose ending says in which format."""
    ending = options.file.suffix.lower()
    if ending not in _REPORT_FORMATS:
        raise ValueError(f"{options.file}: give a name that ends in .pdf or .html")
    filter = _filter(options, options.since, options.until)
    format, zone = _REPORT_FORMATS[ending], options.time_zone
    options.file.write_bytes(client.report(filter, format=format, max_parts=options.limit, time_zone=zone))
    return 0


def dataset(client: Client, options: argparse.Namespace) -> int:
    """Write labelled images to a ZIP file: 0 when it holds all of them, 1 when some could not be included."""
    if options.test_set is None:
        client.download_dataset(options.file, _filter(options, options.since, options.until))
    else:
        client.download_test_set(options.test_set, options.file)
    with zipfile.ZipFile(options.file) as archive, archive.open("manifest.jsonl") as manifest:
        images = [json.loads(line) for line in manifest]
    left_out = [image for image in images if image["path"] is None and image["source"] != "reference"]
    if options.json:
        print(format_json(images))
    else:
        counts = Counter(image["source"] for image in images if image["path"] is not None)
        print(f"{options.file}: {', '.join(f'{source}s {count}' for source, count in counts.items()) or 'nothing'}")
        for image in left_out:
            print_error(f"{image['filename']}: {image['left_out']}")
    return int(bool(left_out))


def label(client: Client, options: argparse.Namespace) -> int:
    """Label an inspected part: 0 when the label is stored, 1 when it needs confirmation first."""
    chosen = None if options.label == "none" else options.label
    try:
        inspection = client.set_label(options.inspection, chosen, confirm=options.confirm, **_defect_details(options))
    except ConfirmationNeeded as error:
        print(format_json(error.effect) if options.json else f"{options.inspection}: {error}")
        return 1
    if options.json:
        print(format_json(inspection))
    else:
        reference = inspection.promoted_reference_id
        created = "" if reference is None else f", reference {reference}"
        said = "".join(f", {text}" for text in (inspection.defect_class, inspection.comment) if text is not None)
        print(f"{inspection.id}: {inspection.label or 'no label'}{created}{said}")
    return 0


def _defect_details(options: argparse.Namespace) -> DefectDetails:
    """What the options say of a defect; an empty text removes what was said."""
    details: DefectDetails = {}
    if options.defect_class is not None:
        details["defect_class"] = options.defect_class or None
    if options.comment is not None:
        details["comment"] = options.comment or None
    return details


def review(client: Client, options: argparse.Namespace) -> int:
    """List the inspections that wait for review."""
    waiting = list(islice(client.review(category=options.category, reason=options.reason), options.limit or None))
    if options.json:
        print(format_json(waiting))
    else:
        rows = [(inspection.review, *_inspection_row(inspection)) for inspection in waiting]
        print(format_table(("reason", *_INSPECTION_HEADINGS), rows))
    return 0


def decide(client: Client, options: argparse.Namespace) -> int:
    """Decide inspections: 0 when all are decided, 1 when some need confirmation first, 2 when some have errors."""
    results = client.decide(options.inspections, options.decision, confirm=options.confirm)
    code = 0
    for result in results:
        if result.error is not None:
            print_error(f"{result.inspection_id}: {result.error.detail}")
            code = max(code, 1 if result.error.type == "/problems/confirmation-needed" else 2)
    if options.json:
        print(format_json(results))
    else:
        print(f"{sum(result.error is None for result in results)} of {len(results)} decided: {options.decision}")
    return code


def stations(client: Client, options: argparse.Namespace) -> int:
    """List the stations with their last part and present errors."""
    reported = client.stations()
    if options.json:
        print(format_json(reported))
    else:
        headings = ("station", "state", "reported", "parts", "last part", "decision", "captured")
        print(format_table(headings, [_station_row(station) for station in reported]))
        for station in reported:
            for component in station.components:
                if component.error is not None:
                    print(f"{station.name}: {component.name}: {component.error}")
    return 0


def frame(client: Client, options: argparse.Namespace) -> int:
    """Save a station's newest frame, once its agent has sent one."""
    end = time.monotonic() + options.wait
    while (newest := client.station_frame(options.station)) is None:
        if time.monotonic() > end:
            print_error(f"{options.station}: no image has arrived within {options.wait:g} s")
            return 1
        time.sleep(_FRAME_POLL_S)
    options.file.write_bytes(newest.data)
    print(f"{options.file}: {len(newest.data)} bytes, {newest.age_s} s old")
    return 0


def _station_row(station: Station) -> tuple[object, ...]:
    failing = any(component.error is not None for component in station.components)
    state = "silent" if station.silent else "failing" if failing else "working"
    last = station.last_part
    part = (None, None, None) if last is None else (last.part_id, last.decision, last.captured_at)
    return (station.name, state, station.reported_at, station.parts, *part)


def watch(client: Client, options: argparse.Namespace) -> int:
    """Print new inspections, one line each."""
    if not options.json:
        print("  ".join(_INSPECTION_HEADINGS))
    inspections = client.watch(_filter(options, None, None), poll_interval=options.poll_interval)
    for inspection in islice(inspections, options.count):
        if options.json:
            print(format_json(inspection, indent=None), flush=True)
        else:
            print("  ".join(map(format_cell, _inspection_row(inspection))), flush=True)
    return 0


_INSPECTION_HEADINGS = (
    "time",
    "verdict",
    "score",
    "threshold",
    "category",
    "station",
    "part",
    "label",
    "class",
    "inspection",
)


def _inspection_row(inspection: Inspection) -> tuple[object, ...]:
    return (
        inspection.at,
        inspection.verdict,
        inspection.score,
        inspection.threshold,
        inspection.category,
        inspection.station,
        inspection.part_id,
        inspection.label,
        inspection.defect_class,
        inspection.id,
    )


def _filter(options: argparse.Namespace, since: datetime | None, until: datetime | None) -> InspectionFilter:
    return InspectionFilter(
        category=options.category,
        verdict=options.verdict,
        station=options.station,
        part_id=options.part_id,
        label=options.label,
        since=since,
        until=until,
        defect_class=options.defect_class,
    )


def _settings(assignments: Sequence[str]) -> SettingsChanges:
    """`NAME=VALUE` assignments as settings; the service validates names and values. ValueError."""
    changes = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        try:
            if not equals:
                raise ValueError
            changes[name] = json.loads(value)
        except ValueError:
            raise ValueError(f"--set {assignment}: write NAME=VALUE, for example false_reject_rate=0.02") from None
    return cast(SettingsChanges, changes)


def _collect_files(paths: Iterable[Path]) -> tuple[list[Path], bool]:
    """The files, with folders replaced by their images sorted by name; and whether some are missing.

    Missing files and ignored files are reported. ValueError when no file is left.
    """
    files: list[Path] = []
    missing = []
    for path in paths:
        if path.is_dir():
            entries = sorted(path.iterdir())
            images = [entry for entry in entries if _is_image(entry)]
            if ignored := [entry.name for entry in entries if not _is_image(entry)]:
                more = f" and {len(ignored) - _MAX_LISTED} more" if len(ignored) > _MAX_LISTED else ""
                print_error(f"{path}: ignored, not image files: {', '.join(ignored[:_MAX_LISTED])}{more}")
            if not images:
                missing.append(f"{path}: no images in this folder")
            files.extend(images)
        elif path.is_file():
            files.append(path)
        else:
            missing.append(f"{path}: no such file")
    if not files:
        raise ValueError("; ".join(missing))
    for message in missing:
        print_error(message)
    return files, bool(missing)


def _is_image(path: Path) -> bool:
    if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
        return False
    try:
        return path.is_file()
    except OSError:  # opening the file raises it again, and it is reported
        return True


def print_error(message: str) -> None:
    """Print a message on standard error, in one line."""
    print(f"touchstone-client: {' '.join(message.split())}", file=sys.stderr)
