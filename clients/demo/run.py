"""The tour: teaches a running server five products, inspects good and defective parts, and shows what it found."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.metrics import roc_auc_score

from clients.demo import contact_sheet
from clients.demo.factory import PRODUCTS, Sample, kinds, render_defective, render_good, test_seed
from clients.demo.server import MAP_SIDE, DemoFailed, Inspected, Server, ServerUnreachable, encode

LOWEST_AUROC = 0.90
FALSE_REJECT_RATE = 0.02  # reachable from 49 references on
_PER_REQUEST = 10


@dataclass(frozen=True)
class Frame:
    """What the server looks at: the centre `crop` pixels of a picture resized to a square of `resize`."""

    resize: int
    crop: int


@dataclass(frozen=True)
class Plan:
    """How much of everything is made and where the results go."""

    out: Path
    references: int = 50
    tests: int = 24
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What was measured on one product."""

    product: str
    image_auroc: float
    pixel_auroc: float
    good_passed: int
    good: int
    defects_caught: int
    defective: int
    p50_ms: float
    p95_ms: float
    threshold: float | None


def analysed(mask: NDArray[np.uint8] | None, frame: Frame) -> NDArray[np.bool_]:
    """A mask as the map sees it: resized, cropped and resized like the picture; bool (256, 256), all False for None."""
    if mask is None:
        return np.zeros((MAP_SIDE, MAP_SIDE), np.bool_)
    square = cv2.resize(mask, (frame.resize, frame.resize), interpolation=cv2.INTER_NEAREST)
    edge = (frame.resize - frame.crop) // 2
    crop = square[edge : edge + frame.crop, edge : edge + frame.crop]
    return cv2.resize(crop, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_NEAREST) > 0


def measure(product: str, inspected: Sequence[Inspected], frame: Frame) -> Result:
    """The figures of one product from its inspected parts, good and defective."""
    truth = np.array([each.sample.defect is not None for each in inspected])
    scores = np.array([each.score for each in inspected])
    pixels = np.concatenate([analysed(each.sample.mask, frame).ravel() for each in inspected])
    values = np.concatenate([each.map.ravel() for each in inspected])
    verdicts = np.array([each.verdict for each in inspected])
    latencies = np.array([each.latency_ms for each in inspected])
    return Result(
        product=product,
        image_auroc=float(roc_auc_score(truth, scores)),
        pixel_auroc=float(roc_auc_score(pixels, values)),
        good_passed=int(np.count_nonzero(verdicts[~truth] == "normal")),
        good=int(np.count_nonzero(~truth)),
        defects_caught=int(np.count_nonzero(verdicts[truth] == "anomalous")),
        defective=int(np.count_nonzero(truth)),
        p50_ms=float(np.percentile(latencies, 50)),
        p95_ms=float(np.percentile(latencies, 95)),
        threshold=inspected[0].threshold,
    )


def run(server: Server, plan: Plan, console: Console) -> list[Result]:
    """The whole tour; raises DemoFailed."""
    begin = time.monotonic()
    what = server.ask("GET", "/version")
    frame = Frame(what["encoder"]["resize"], what["encoder"]["crop"])
    console.print(f"Server {server.url}, encoder {what['encoder']['name']}, {what['references']} references so far")
    overlays = plan.out / "overlays"
    overlays.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    rows: list[contact_sheet.Row] = []
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        added = duplicates = 0
        task = progress.add_task("Onboarding", total=plan.references * len(PRODUCTS))
        for product in PRODUCTS:
            progress.update(task, description=f"Onboarding {product}")
            for batch in _batches(product, plan):
                new, old = server.onboard(product, batch)
                added, duplicates = added + new, duplicates + old
                progress.advance(task, len(batch))
            server.accept(product, FALSE_REJECT_RATE)
        progress.update(task, description="Onboarded")
        progress.console.print(
            f"{added} references added" + (f", {duplicates} were there already" if duplicates else "")
        )
        task = progress.add_task("Calibrating", total=len(PRODUCTS))
        for product in PRODUCTS:
            progress.update(task, description=f"Calibrating {product}")
            server.wait_until_calibrated(product)
            progress.advance(task)
        progress.update(task, description="Calibrated")
        task = progress.add_task("Inspecting", total=2 * plan.tests * len(PRODUCTS))
        for index, product in enumerate(PRODUCTS):
            progress.update(task, description=f"Inspecting {product}")
            inspected = []
            for name, sample in _test_parts(product, plan):
                part = server.inspect(product, name, sample)
                _save(overlays / f"{name}.png", part.overlay)
                inspected.append(part)
                progress.advance(task)
            results.append(measure(product, inspected, frame))
            rows.append(_row(index, results[-1], inspected))
        progress.update(task, description="Inspected")
    console.print(_table(results))
    mean = _mean(results)
    title = "Touchstone: taught by good parts alone"
    subtitle = (
        f"{plan.references} good references a product, no training  ·  encoder {what['encoder']['name']}  ·  "
        f"mean image AUROC {mean:.3f}  ·  left of each row a good part, then defects beside what was found"
    )
    sheet = plan.out / "contact-sheet.jpg"
    _save(sheet, contact_sheet.draw(title, subtitle, rows))
    summary = {
        "mean_image_auroc": mean, "encoder": what["encoder"], "references_per_product": plan.references,
        "false_reject_rate": FALSE_REJECT_RATE, "seconds": round(time.monotonic() - begin, 1),
        "products": [asdict(each) for each in results],
    }  # fmt: skip
    (plan.out / "results.json").write_text(json.dumps(summary, indent=2) + "\n")
    example = plan.out / "try-me.png"
    _save(example, render_defective("board", test_seed(plan.seed, 10_000), "missing").image)
    console.print(f"Picture: {sheet}   overlays: {overlays}   figures: {plan.out / 'results.json'}")
    return results


def next_steps(out: Path, url: str = "http://127.0.0.1:8000") -> str:
    """What to try once the demo is over."""
    return "\n".join(
        (
            "Next: `make serve` keeps a server running on these references; then",
            f"  {url}/                                                        # its console, in a browser",
            f"  curl -F images=@{out / 'try-me.png'} {url}/detect          # which product, and is it good?",
            f"  curl -F category=mine -F images=@1.png -F images=@2.png {url}/references  # teach it yours",
            f"  curl {url}/categories                                         # what it knows",
            f"  {url}/docs                                                    # everything else, for programs",
        )
    )


def _batches(product: str, plan: Plan) -> Iterator[list[tuple[str, bytes]]]:
    for first in range(0, plan.references, _PER_REQUEST):
        numbers = range(first, min(first + _PER_REQUEST, plan.references))
        yield [(f"{product}-{i:03d}.png", encode(render_good(product, plan.seed + i).image)) for i in numbers]


def _test_parts(product: str, plan: Plan) -> Iterator[tuple[str, Sample]]:
    for i in range(plan.tests):
        yield f"{product}-good-{i:03d}", render_good(product, test_seed(plan.seed, i))
    choice = kinds(product)
    for i in range(plan.tests):
        kind = choice[i % len(choice)]
        sample = render_defective(product, test_seed(plan.seed, plan.tests + i), kind)
        yield f"{product}-{kind}-{i:03d}", sample


def _row(index: int, result: Result, inspected: Sequence[Inspected]) -> contact_sheet.Row:
    """A product's row: of the good parts and of each of three kinds of defect the one with the median score."""
    choice = kinds(result.product)
    picked = [choice[(index + 2 * i) % len(choice)] for i in range(3)]
    good = _median([each for each in inspected if each.sample.defect is None])
    note = (
        f"image AUROC {result.image_auroc:.3f}   pixel AUROC {result.pixel_auroc:.3f}   good passed "
        f"{result.good_passed}/{result.good}   defects caught {result.defects_caught}/{result.defective}"
    )
    defective = []
    for kind in picked:
        ofkind = [each for each in inspected if each.sample.defect == kind]
        if ofkind:
            defective.append(_shown(kind, _median(ofkind), overlay=True))
    return contact_sheet.Row(result.product, note, _shown("good part", good, overlay=False), tuple(defective))


def _median(parts: Sequence[Inspected]) -> Inspected:
    return sorted(parts, key=lambda part: part.score)[len(parts) // 2]


def _shown(title: str, part: Inspected, *, overlay: bool) -> contact_sheet.Shown:
    drawn = part.overlay if overlay else None
    return contact_sheet.Shown(title, part.sample.image, drawn, part.verdict, part.score, part.threshold)


def _mean(results: Sequence[Result]) -> float:
    return float(np.mean([each.image_auroc for each in results]))


def _table(results: Sequence[Result]) -> Table:
    table = Table(title="What was found", header_style="bold")
    table.add_column("product")
    for heading in ("image AUROC", "pixel AUROC", "good → normal", "defective → anomalous", "p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for each in results:
        table.add_row(
            each.product, f"{each.image_auroc:.3f}", f"{each.pixel_auroc:.3f}", f"{each.good_passed}/{each.good}",
            f"{each.defects_caught}/{each.defective}", f"{each.p50_ms:.0f}", f"{each.p95_ms:.0f}",
        )  # fmt: skip
    pixel = float(np.mean([each.pixel_auroc for each in results]))
    table.add_section()
    table.add_row("mean", f"{_mean(results):.3f}", f"{pixel:.3f}")
    return table


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality):
        raise DemoFailed(f"cannot write {path}")


def tour(url: str, plan: Plan, patience: float) -> int:
    """Run the tour and return the exit code: 0, 1 (not good enough, or something failed), 2 (no server)."""
    console = Console()
    try:
        with Server(url) as server:
            server.wait_until_ready(patience)
            results = run(server, plan, console)
    except ServerUnreachable as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 2
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    mean = _mean(results)
    if mean < LOWEST_AUROC:
        worst = min(results, key=lambda each: each.image_auroc)
        words = f"mean image AUROC {mean:.3f} is under {LOWEST_AUROC}; worst: {worst.product} {worst.image_auroc:.3f}"
        print(f"demo: {words}", file=sys.stderr)
        return 1
    return 0


def options() -> argparse.ArgumentParser:
    """The options that the tour and `python -m clients.demo` share."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--out", type=Path, default=Path("demo-output"), help="folder for results (default demo-output)"
    )
    parser.add_argument(
        "--references", type=int, default=Plan.references, help="good references a product (default 50)"
    )
    parser.add_argument("--tests", type=int, default=Plan.tests, help="good and as many defective parts (default 24)")
    parser.add_argument(
        "--seed", type=int, default=Plan.seed, help="another seed, another day's production (default 0)"
    )
    return parser


def read_plan(given: argparse.Namespace) -> Plan:
    """The plan that the options describe."""
    return Plan(given.out, given.references, given.tests, given.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: the tour on a server that is running already."""
    parser = argparse.ArgumentParser(prog="python -m clients.demo.run", description=__doc__, parents=[options()])
    parser.add_argument("--url", required=True, help="of the server, e.g. http://127.0.0.1:8000")
    parser.add_argument(
        "--wait", type=float, default=60, help="seconds to wait for the server to be ready (default 60)"
    )
    given = parser.parse_args(arguments)
    code = tour(given.url, read_plan(given), given.wait)
    if code == 0:
        print(next_steps(given.out, given.url))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
