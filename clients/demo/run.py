"""The demo on a running server: onboards five products, inspects good and defective parts, and shows the results."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
from clients.demo.factory import PRODUCTS, Sample, defect_kinds, render_defective, render_good, test_seed
from clients.demo.server import DemoFailed, InputGeometry, InspectedPart, Server, ServerUnreachable, encode_png

MIN_AUROC = 0.90
FALSE_REJECT_RATE = 0.02  # needs 49 references
_IMAGES_PER_REQUEST = 10


@dataclass(frozen=True)
class Plan:
    """How many parts to render, and where to write the results."""

    out: Path
    references: int = 50
    tests: int = 24
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """The measurements of one product."""

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


def to_map_geometry(
    mask: NDArray[np.uint8] | None, geometry: InputGeometry, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """A mask scaled and cropped like the anomaly map; bool of the map's shape (rows, columns), all False for None."""
    if mask is None:
        return np.zeros(shape, np.bool_)
    left, top, width, height = geometry.window
    scaled = cv2.resize(mask, geometry.resized, interpolation=cv2.INTER_NEAREST)
    seen = scaled[top : top + height, left : left + width]
    return cv2.resize(seen, shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def measure(product: str, parts: Sequence[InspectedPart], geometry: InputGeometry) -> Result:
    """The measurements of one product from its inspected parts, good and defective."""
    truth = np.array([part.sample.defect is not None for part in parts])
    scores = np.array([part.score for part in parts])
    pixels = np.concatenate([to_map_geometry(part.sample.mask, geometry, part.map.shape).ravel() for part in parts])
    values = np.concatenate([part.map.ravel() for part in parts])
    verdicts = np.array([part.verdict for part in parts])
    latencies = np.array([part.latency_ms for part in parts])
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
        threshold=parts[0].threshold,
    )


def run(server: Server, plan: Plan, console: Console) -> list[Result]:
    """Run the demo. DemoFailed."""
    start = time.monotonic()
    version = server.request("GET", "/version")
    console.print(
        f"Server {server.url}, encoder {version['encoder']['name']}, {version['references']} references so far"
    )
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
            server.set_false_reject_rate(product, FALSE_REJECT_RATE)
        progress.update(task, description="Onboarded")
        progress.console.print(f"{added} references added" + (f", {duplicates} are duplicates" if duplicates else ""))
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
            results.append(measure(product, inspected, server.geometry(product)))
            rows.append(_row(index, results[-1], inspected))
        progress.update(task, description="Inspected")
    console.print(_table(results))
    mean = _mean(results)
    title = "Touchstone: references of good parts only, no training"
    subtitle = (
        f"{plan.references} references per product  ·  encoder {version['encoder']['name']}  ·  "
        f"mean image AUROC {mean:.3f}  ·  per row a good part, then defective parts beside their overlays"
    )
    sheet = plan.out / "contact-sheet.jpg"
    _save(sheet, contact_sheet.draw(title, subtitle, rows))
    summary = {
        "mean_image_auroc": mean,
        "encoder": version["encoder"],
        "references_per_product": plan.references,
        "false_reject_rate": FALSE_REJECT_RATE,
        "seconds": round(time.monotonic() - start, 1),
        "products": [asdict(result) for result in results],
    }
    (plan.out / "results.json").write_text(json.dumps(summary, indent=2) + "\n")
    example = plan.out / "try-me.png"
    _save(example, render_defective("board", test_seed(plan.seed, 10_000), "missing").image)
    console.print(f"Contact sheet: {sheet}   overlays: {overlays}   measurements: {plan.out / 'results.json'}")
    return results


def next_steps(out: Path, url: str = "http://127.0.0.1:8000") -> str:
    """The commands to try after the demo."""
    return "\n".join(
        (
            "Next: `make serve` keeps a server running on these references; then",
            f"  {url}/                                                        # the console, in a browser",
            f"  curl -F images=@{out / 'try-me.png'} {url}/detect          # inspect a part",
            f"  curl -F category=mine -F images=@1.png -F images=@2.png {url}/references  # add your own product",
            f"  curl {url}/categories                                         # list the products",
            f"  {url}/docs                                                    # the API",
        )
    )


def _batches(product: str, plan: Plan) -> Iterator[list[tuple[str, bytes]]]:
    for first in range(0, plan.references, _IMAGES_PER_REQUEST):
        indices = range(first, min(first + _IMAGES_PER_REQUEST, plan.references))
        yield [(f"{product}-{i:03d}.png", encode_png(render_good(product, plan.seed + i).image)) for i in indices]


def _test_parts(product: str, plan: Plan) -> Iterator[tuple[str, Sample]]:
    for i in range(plan.tests):
        yield f"{product}-good-{i:03d}", render_good(product, test_seed(plan.seed, i))
    all_kinds = defect_kinds(product)
    for i in range(plan.tests):
        kind = all_kinds[i % len(all_kinds)]
        sample = render_defective(product, test_seed(plan.seed, plan.tests + i), kind)
        yield f"{product}-{kind}-{i:03d}", sample


def _row(index: int, result: Result, parts: Sequence[InspectedPart]) -> contact_sheet.Row:
    """A product's row: the part with the median score of the good parts, and of each of three kinds of defect."""
    all_kinds = defect_kinds(result.product)
    selected = [all_kinds[(index + 2 * i) % len(all_kinds)] for i in range(3)]
    good = _median([part for part in parts if part.sample.defect is None])
    note = (
        f"image AUROC {result.image_auroc:.3f}   pixel AUROC {result.pixel_auroc:.3f}   good passed "
        f"{result.good_passed}/{result.good}   defects caught {result.defects_caught}/{result.defective}"
    )
    defective = []
    for kind in selected:
        of_kind = [part for part in parts if part.sample.defect == kind]
        if of_kind:
            defective.append(_cell(kind, _median(of_kind), overlay=True))
    return contact_sheet.Row(result.product, note, _cell("good part", good, overlay=False), tuple(defective))


def _median(parts: Sequence[InspectedPart]) -> InspectedPart:
    return sorted(parts, key=lambda part: part.score)[len(parts) // 2]


def _cell(title: str, part: InspectedPart, *, overlay: bool) -> contact_sheet.Cell:
    image = part.overlay if overlay else None
    return contact_sheet.Cell(title, part.sample.image, image, part.verdict, part.score, part.threshold)


def _mean(results: Sequence[Result]) -> float:
    return float(np.mean([result.image_auroc for result in results]))


def _table(results: Sequence[Result]) -> Table:
    table = Table(title="Results", header_style="bold")
    table.add_column("product")
    for heading in ("image AUROC", "pixel AUROC", "good → normal", "defective → anomalous", "p50 ms", "p95 ms"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            result.product,
            f"{result.image_auroc:.3f}",
            f"{result.pixel_auroc:.3f}",
            f"{result.good_passed}/{result.good}",
            f"{result.defects_caught}/{result.defective}",
            f"{result.p50_ms:.0f}",
            f"{result.p95_ms:.0f}",
        )
    pixel = float(np.mean([result.pixel_auroc for result in results]))
    table.add_section()
    table.add_row("mean", f"{_mean(results):.3f}", f"{pixel:.3f}")
    return table


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality):
        raise DemoFailed(f"cannot write {path}")


def run_demo(url: str, plan: Plan, timeout: float) -> int:
    """Run the demo and return the exit code: 0, 1 (accuracy too low, or a failure), 2 (no server)."""
    console = Console()
    try:
        with Server(url) as server:
            server.wait_until_ready(timeout)
            results = run(server, plan, console)
    except ServerUnreachable as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 2
    except (DemoFailed, OSError) as failure:  # such as a folder that cannot be written
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    mean = _mean(results)
    if mean < MIN_AUROC:
        worst = min(results, key=lambda result: result.image_auroc)
        message = f"mean image AUROC {mean:.3f} is below {MIN_AUROC}; worst: {worst.product} {worst.image_auroc:.3f}"
        print(f"demo: {message}", file=sys.stderr)
        return 1
    return 0


def _at_least(minimum: int) -> Callable[[str], int]:
    """An option's type."""

    def number(text: str) -> int:
        if (value := int(text)) < minimum:
            raise argparse.ArgumentTypeError(f"{value} is below {minimum}")
        return value

    return number


def option_parser() -> argparse.ArgumentParser:
    """The options shared with `python -m clients.demo`."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--out", type=Path, default=Path("demo-output"), help="folder for results (default demo-output)"
    )
    parser.add_argument(
        "--references", type=_at_least(2), default=Plan.references, help="references per product (default 50)"
    )
    parser.add_argument(
        "--tests", type=_at_least(1), default=Plan.tests, help="good and as many defective parts (default 24)"
    )
    parser.add_argument(
        "--seed", type=int, default=Plan.seed, help="another seed, another day's production (default 0)"
    )
    return parser


def read_plan(options: argparse.Namespace) -> Plan:
    """The plan that the options describe."""
    return Plan(options.out, options.references, options.tests, options.seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: the demo on a running server."""
    parser = argparse.ArgumentParser(prog="python -m clients.demo.run", description=__doc__, parents=[option_parser()])
    parser.add_argument("--url", required=True, help="base URL of the server, e.g. http://127.0.0.1:8000")
    parser.add_argument(
        "--wait", type=float, default=60, help="seconds to wait for the server to be ready (default 60)"
    )
    options = parser.parse_args(arguments)
    code = run_demo(options.url, read_plan(options), options.wait)
    if code == 0:
        print(next_steps(options.out, options.url))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
