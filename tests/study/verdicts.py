"""Measures the guarantees of verdicts on rendered products, and on real ones if present: `make verdicts`."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from clients.demo.factory import PRODUCTS
from indexer.calibration.leave_one_out import LeaveOneOut, Steps, leave_one_out
from indexer.detection.detector import judge
from indexer.encoders import Encoder
from indexer.memory import MemoryBank
from indexer.scoring.scoring import score_image
from indexer.search import PatchSearchEngine, choose_engine
from tests.study.codecs import codecs
from tests.study.few import outliers
from tests.study.fits import named
from tests.study.latency import beside_calibration
from tests.study.onboarded import SCORING, criteria_of, memory_of, study_encoder
from tests.study.products import MOST_IMAGES, Product, photographs, real, rendered, together
from tests.study.searches import compared

RATES = (0.005, 0.01, 0.05, 0.1)
CATEGORY = "product"
_SIMULATIONS = 4000
_CHANGES = 5  # references that come and go, one by one, to time it


class Study:
    """Collects what every product showed."""

    def __init__(self, encoder: Encoder, engine: PatchSearchEngine, sizes: Sequence[int]) -> None:
        self.encoder, self.engine, self.sizes = encoder, engine, sizes
        self.designs: dict[int, list[tuple[int, int, int]]] = {}  # size → (references, sets, fresh parts) a product
        self.rejected: Counter[tuple[int, float]] = Counter()
        self.fresh: Counter[int] = Counter()
        self.unfamiliar: Counter[tuple[int, float]] = Counter()
        self.verdicts: dict[tuple[str, str], Counter[str]] = {}
        self.timings: list[str] = []

    def add(self, product: Product, rate: float) -> None:
        """Calibrate with sets of each size drawn from the references, and decide on every image."""
        whole = memory_of(self.encoder, {CATEGORY: product.references}, {CATEGORY: product.geometry})
        for size in self.sizes:
            if size > len(product.references):
                continue
            sets = min(8, len(product.references) // size)
            self.designs.setdefault(size, []).append((len(product.references), sets, len(product.good)))
            for index in range(sets):
                outside = [*range(index * size), *range((index + 1) * size, len(product.references))]
                memory = whole.without_references(outside, whole.version + 1)
                criteria = criteria_of(memory, self.engine, CATEGORY, rate)
                calibration = criteria.calibration
                assert calibration is not None
                self.fresh[size] += len(product.good)
                for features in product.good:
                    measures = judge(memory, self.engine, features, CATEGORY, criteria).measures
                    for allowed in RATES:
                        threshold = calibration.scores.threshold_at(allowed)
                        assert threshold is not None
                        self.rejected[size, allowed] += measures.score > threshold
                        threshold = calibration.novelty.threshold_at(allowed)
                        assert threshold is not None
                        self.unfamiliar[size, allowed] += calibration.novelty.statistic(measures) > threshold
        self.timings.append(self.timed(product.name, whole))
        criteria = criteria_of(whole, self.engine, CATEGORY, rate)
        for kind, images in (("good", product.good), ("defective", product.defective), *product.odd.items()):
            judged = (judge(whole, self.engine, features, CATEGORY, criteria) for features in images)
            self.verdicts[product.name, kind] = Counter(image.decision.verdict for image in judged)

    def timed(self, name: str, memory: MemoryBank) -> str:
        """A table's row: how long the calibration of all references takes, and one reference more, and one less."""
        last = np.sort(memory.ids)[-_CHANGES:].tolist()
        before = fewer = memory.without_references(last, memory.version + 1)
        result, whole, longest = finished(leave_one_out(fewer, self.engine, CATEGORY, SCORING.k, SCORING.rho))
        more, less, steps = list[float](), list[float](), [longest]
        for index in range(1, _CHANGES + 1):
            after = memory.without_references(last[index:], memory.version + 1 + index)
            grown, seconds, longest = finished(
                leave_one_out(after, self.engine, CATEGORY, SCORING.k, SCORING.rho, result)
            )
            more.append(seconds)
            steps.append(longest)
            _, seconds, longest = finished(leave_one_out(before, self.engine, CATEGORY, SCORING.k, SCORING.rho, grown))
            less.append(seconds)
            steps.append(longest)
            result, before = grown, after
        searches = list[float]()
        for row in range(8):
            begun = time.perf_counter()
            score_image(memory, self.engine, memory.features_of(row), SCORING, CATEGORY, [row])
            searches.append(time.perf_counter() - begun)
        return (
            f"| {name} | {len(fewer)} | {whole:.1f} s | {median(more):.2f} s | {median(less):.2f} s "
            f"| {max(steps) * 1000:.0f} ms | {median(searches) * 1000:.0f} ms | {result.duplicates} |"
        )

    def report(self, title: str) -> Iterator[str]:
        """The tables."""
        yield f"### {title}\n"
        yield "Share of fresh good parts beyond the level; expected is what exchangeable parts give in 95 of 100 such"
        yield "studies (simulated, with as many sets and parts). For `unfamiliar` a level out of reach is stricter.\n"
        yield "| References | Rate asked for | Fresh | Rejected | Expected | Unfamiliar at that rate |"
        yield "|---|---|---|---|---|---|"
        for size in sorted(self.designs):
            for rate in RATES:
                low, high = expected(self.designs[size], size, rate)
                fresh, rejected = self.fresh[size], self.rejected[size, rate] / self.fresh[size]
                unfamiliar = self.unfamiliar[size, rate] / fresh
                reach = "" if rate * (size + 1) >= 1 - 1e-9 else " (out of reach)"
                yield (
                    f"| {size} | {rate:.1%}{reach} | {fresh} | {rejected:.2%} | {low:.2%} to {high:.2%} "
                    f"| {unfamiliar:.2%} |"
                )
        yield "\nVerdicts with all references, `category` given.\n"
        products = list(dict.fromkeys(name for name, _ in self.verdicts))
        yield "| Images | Shown | normal | anomalous | unfamiliar | uncalibrated | normal, by product |"
        yield "|---|---|---|---|---|---|---|"
        for kind in dict.fromkeys(kind for _, kind in self.verdicts):
            counts = [self.verdicts[name, kind] for name in products]
            together = sum(counts, Counter())
            shown = together.total()
            cells = [
                f"{together[verdict] / shown:.1%}" for verdict in ("normal", "anomalous", "unfamiliar", "uncalibrated")
            ]
            passed = ", ".join(
                f"{name} {count['normal']}" for name, count in zip(products, counts, strict=True) if count["normal"]
            )
            yield f"| {kind} | {shown} | {' | '.join(cells)} | {passed or 'none'} |"
        yield "\n| Product | References | Calibrated | One more | One less | Longest step | One search | Duplicates |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from self.timings
        yield ""


def finished(steps: Steps) -> tuple[LeaveOneOut, float, float]:
    """What the steps return, the seconds they took together, and the longest single one."""
    longest, begun = 0.0, time.perf_counter()
    while True:
        step = time.perf_counter()
        try:
            next(steps)
        except StopIteration as end:
            result: LeaveOneOut = end.value
            return result, time.perf_counter() - begun, longest
        longest = max(longest, time.perf_counter() - step)


def expected(designs: Sequence[tuple[int, int, int]], size: int, rate: float) -> tuple[float, float]:
    """The central 95 % of the share of good parts rejected, when they are exchangeable with the references."""
    rng = np.random.default_rng(0)
    shares = []
    beyond = max(1, int(rate * (size + 1) + 1e-9))
    for _ in range(_SIMULATIONS):
        rejected = total = 0
        for references, sets, fresh in designs:
            known, new = rng.random(references), rng.random(fresh)
            for index in range(sets):
                level = np.partition(known[index * size : (index + 1) * size], -beyond)[-beyond]
                rejected += int(np.count_nonzero(new > level))
                total += fresh
        shares.append(rejected / total)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Run it and write the tables between the markers of a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page whose text between the study's markers is replaced")
    parser.add_argument("--references", type=int, default=200, help="rendered references a product (default 200)")
    parser.add_argument("--tests", type=int, default=60, help="rendered good and defective parts each (default 60)")
    parser.add_argument("--products", nargs="+", choices=PRODUCTS, default=PRODUCTS, help="of the rendered factory")
    parser.add_argument("--odd", type=int, default=5, help="images of each kind of odd view (default 5)")
    parser.add_argument("--boards", type=Path, help="folder of real products in MVTec-AD's layout")
    parser.add_argument("--photos", type=Path, help="folder of photographs in that layout, to be stored in other ways")
    parser.add_argument("--keep", type=Path, help="folder where rendered images stay, to be used again")
    parser.add_argument("--rate", type=float, default=0.01, help="false-reject rate of the verdicts (default 0.01)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    encoder, engine = study_encoder(), choose_engine(torch.device("cpu"))
    lines = []
    study = Study(encoder, engine, (20, 50, 200))
    made = rendered(encoder, given.products, given.references, given.tests, given.odd, given.keep)
    products = []
    for product in track(made, "Rendered", total=len(given.products)):
        study.add(product, given.rate)
        products.append(product)
    names = ", ".join(given.products)
    lines += study.report(f"Rendered: {names}; {given.references} references each, at a rate of {given.rate:.1%}")
    lines += beside_calibration(encoder, engine, products[0])
    lines += compared("Searches: rendered, 60 references each", encoder, engine, products, 60)
    lines += outliers("Outliers among few: rendered", encoder, products)
    title = f"Stored in another way: rendered, {MOST_IMAGES} references each, at a rate of 5.0%"
    stored = [product.images for product in products if product.images is not None]
    lines += codecs(title, encoder, engine, stored, 0.05, "PNG")
    if len(products) > 1:
        lines += named("Better category: rendered, 60 references each", encoder, engine, products, 60, given.rate)
    if given.boards is not None:
        boards = list(real(encoder, given.boards, given.odd))
        study = Study(encoder, engine, (20,))
        for product in track(boards, "Real"):
            study.add(product, 0.05)
        lines += study.report("Real boards (DeepPCB), a category each, at a rate of 5.0%")
        study = Study(encoder, engine, (20, 50, 100))
        study.add(together("boards", boards), 0.05)
        lines += study.report("Real boards, all as one category, at a rate of 5.0%")
        lines += compared("Searches: real boards", encoder, engine, boards, 1000)
        lines += outliers("Outliers among few: real boards", encoder, boards)
        lines += named("Better category: real boards, at a rate of 5.0%", encoder, engine, boards, 1000, 0.05)
    if given.photos is not None:
        title = f"Stored in another way: photographs, up to {MOST_IMAGES} references each, at a rate of 5.0%"
        lines += codecs(title, encoder, engine, list(photographs(given.photos)), 0.05, "as they are, JPEG 92")
    text = "\n".join(lines)
    Console().print(text, markup=False, soft_wrap=True)
    if given.write is not None:
        page = given.write.read_text()
        head, _, rest = page.partition("<!-- study:begin -->")
        _, _, tail = rest.partition("<!-- study:end -->")
        given.write.write_text(f"{head}<!-- study:begin -->\n{text}\n<!-- study:end -->{tail}")


if __name__ == "__main__":
    main()
