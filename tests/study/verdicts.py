"""Measures what verdicts promise on rendered products, and on real ones when there are any: `make verdicts`."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from clients.demo.factory import PRODUCTS, render_defective, render_good, test_seed
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder, prepare
from indexer.images import decode_image
from indexer.memory import Memory
from indexer.scoring import ScoringSettings, score_image
from indexer.search import Engine, TorchEngine
from indexer.verdicts.calibration import Calibration, Limits, decide
from indexer.verdicts.leave_one_out import calibrate, leave_one_out
from indexer.verdicts.measures import Measures

Picture = NDArray[np.uint8]
RATES = (0.005, 0.01, 0.05, 0.1)
SETTINGS = ScoringSettings()
CATEGORY = "product"
_SIMULATIONS = 4000
_VERDICTS = ("normal", "anomalous", "unfamiliar", "uncalibrated")


@dataclass(frozen=True)
class Product:
    """Features of one product's pictures: references, fresh good parts, defective parts, views gone wrong by name."""

    name: str
    references: list[Features]
    good: list[Features]
    defective: list[Features]
    odd: dict[str, list[Features]]


def odd_views(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    """What a camera sees when something is wrong with it, made of good pictures; and frames that show nothing."""
    shape = pictures[0].shape
    side = shape[1]
    rng = np.random.default_rng(0)
    dark = [np.clip(rng.normal(4, 2, shape), 0, 255).astype(np.uint8) for _ in range(4)]
    found = {
        "black": [np.zeros(shape, np.uint8), *dark],
        "white": [np.full(shape, 255, np.uint8), *(255 - each for each in dark)],
        "lens covered": [cv2.GaussianBlur(each, (0, 0), side / 8) // 4 for each in pictures],
    }
    for share in (0.05, 0.1, 0.25):
        found[f"shifted {share:.0%}"] = [moved(each, shift=share * side) for each in pictures]
    for degrees in (3, 10, 45, 180):
        found[f"turned {degrees}°"] = [moved(each, degrees=degrees) for each in pictures]
    return found


def moved(picture: Picture, shift: float = 0.0, degrees: float = 0.0) -> Picture:
    """The picture as a displaced or turned camera would see it, mirrored where it would see beyond the border."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += (shift, shift / 2)
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT).astype(np.uint8)


def rendered(encoder: Encoder, products: Sequence[str], references: int, tests: int, odd: int) -> Iterator[Product]:
    """Products of the rendered factory."""
    for name in products:
        good = [render_good(name, test_seed(0, number)).image for number in range(tests)]
        defective = [render_defective(name, test_seed(0, tests + number)).image for number in range(tests)]
        views = odd_views(good[:odd])
        for other in PRODUCTS:
            if other != name:
                views.setdefault("other products", []).extend(
                    render_good(other, test_seed(0, 5000 + number)).image for number in range(max(1, odd // 2))
                )
        yield Product(
            name,
            encoded(encoder, (render_good(name, number).image for number in range(references))),
            encoded(encoder, good), encoded(encoder, defective),
            {kind: encoded(encoder, pictures) for kind, pictures in views.items()},
        )  # fmt: skip


def real(encoder: Encoder, folder: Path, odd: int) -> Iterator[Product]:
    """Products laid out as MVTec-AD lays them out."""
    names = sorted(each.name for each in folder.iterdir() if (each / "train/good").is_dir())

    def read(*parts: str) -> list[Picture]:
        files = sorted(file for file in folder.joinpath(*parts).rglob("*") if file.is_file())
        return [decode_image(file) for file in files]

    for name in names:
        good = read(name, "test", "good")
        defective = [
            picture
            for kind in sorted((folder / name / "test").iterdir())
            if kind.name != "good"
            for picture in read(name, "test", kind.name)
        ]
        views = odd_views(good[:odd])
        views["other products"] = [
            each for other in names if other != name for each in read(other, "test", "good")[:odd]
        ]
        yield Product(
            name, encoded(encoder, shuffled(read(name, "train", "good"))), encoded(encoder, good),
            encoded(encoder, defective),
            {kind: encoded(encoder, pictures) for kind, pictures in views.items()},
        )  # fmt: skip


def shuffled(pictures: Sequence[Picture]) -> list[Picture]:
    """In another order, always the same: files may lie as they were taken, and a part of them be of one moment."""
    return [pictures[number] for number in np.random.default_rng(0).permutation(len(pictures))]


def encoded(encoder: Encoder, pictures: Iterator[Picture] | Sequence[Picture]) -> list[Features]:
    """Features of each picture, by itself."""
    return [encoder.encode(prepare(picture, encoder.space.geometry)[None]) for picture in pictures]


class Study:
    """Collects what every product showed."""

    def __init__(self, encoder: Encoder, engine: Engine, sizes: Sequence[int]) -> None:
        self.encoder, self.engine, self.sizes = encoder, engine, sizes
        self.designs: dict[int, list[tuple[int, int, int]]] = {}  # size → (references, sets, fresh parts) a product
        self.rejected: Counter[tuple[int, float]] = Counter()
        self.fresh: Counter[int] = Counter()
        self.unfamiliar: Counter[tuple[int, float]] = Counter()
        self.verdicts: dict[tuple[str, str], Counter[str]] = {}
        self.timings: list[str] = []

    def add(self, product: Product, rate: float) -> None:
        """Calibrate with sets of each size drawn from the references, and decide on every picture."""
        whole = self.remembered(product.references)
        for size in self.sizes:
            if size > len(product.references):
                continue
            sets = min(8, len(product.references) // size)
            self.designs.setdefault(size, []).append((len(product.references), sets, len(product.good)))
            for number in range(sets):
                outside = [*range(number * size), *range((number + 1) * size, len(product.references))]
                memory = whole.removed(outside, whole.version + 1)
                calibration = calibrate(memory, self.engine, CATEGORY, SETTINGS)
                self.fresh[size] += len(product.good)
                for features in product.good:
                    measures = self.measured(memory, features)
                    for each in RATES:
                        level = calibration.scores.level(each)
                        assert level is not None
                        self.rejected[size, each] += measures.score > level
                        level = calibration.familiarity.level(each)
                        assert level is not None
                        self.unfamiliar[size, each] += calibration.familiarity.statistic(measures) > level
        calibration = self.timed(product.name, whole)
        limits = Limits(rate)
        for kind, pictures in (("good", product.good), ("defective", product.defective), *product.odd.items()):
            verdicts = [decide(self.measured(whole, each), calibration, limits).verdict for each in pictures]
            self.verdicts[product.name, kind] = Counter(verdicts)

    def remembered(self, references: Sequence[Features]) -> Memory:
        """A memory of one category."""
        memory = Memory.empty(self.encoder.space)
        for number, each in enumerate(references):
            memory = memory.added([number], [CATEGORY], memory.codec.encode(each), number + 1)
        return memory

    def measured(self, memory: Memory, features: Features) -> Measures:
        """What the service would measure with the category given."""
        scored = score_image(memory, self.engine, features, SETTINGS, CATEGORY)
        return Measures.of(scored, features, memory.space, SETTINGS)

    def timed(self, name: str, memory: Memory) -> Calibration:
        """The calibration with all references, timed; and how long one reference more, and one less, took."""
        last = int(memory.ids.max())
        fewer = memory.removed([last], memory.version + 1)
        before, whole, longest = self.finished(lambda: leave_one_out(fewer, self.engine, CATEGORY, 150, 1))
        after, more, step = self.finished(lambda: leave_one_out(memory, self.engine, CATEGORY, 150, 1, before))
        _, less, _ = self.finished(lambda: leave_one_out(fewer, self.engine, CATEGORY, 150, 1, after))
        begun = time.perf_counter()
        for each in range(8):
            score_image(memory, self.engine, memory.features_of(each), SETTINGS, CATEGORY, [each])
        detection = (time.perf_counter() - begun) / 8
        self.timings.append(
            f"| {name} | {len(fewer)} | {whole:.1f} s | {more:.2f} s | {less:.2f} s "
            f"| {max(longest, step) * 1000:.0f} ms | {detection * 1000:.0f} ms | {after.duplicates} |"
        )
        measures = (each for _, each in after.measures(memory, SETTINGS))
        return Calibration.of(CATEGORY, memory.version, "", measures, after.duplicates)

    @staticmethod
    def finished(begin: Callable[[], object]) -> tuple[object, float, float]:
        """What the steps return, the seconds they took together, and the longest single one."""
        steps, longest, begun = begin(), 0.0, time.perf_counter()
        while True:
            step = time.perf_counter()
            try:
                next(steps)
            except StopIteration as end:
                return end.value, time.perf_counter() - begun, longest
            longest = max(longest, time.perf_counter() - step)

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
        yield "| Pictures | Shown | normal | anomalous | unfamiliar | uncalibrated | normal, by product |"
        yield "|---|---|---|---|---|---|---|"
        for kind in dict.fromkeys(kind for _, kind in self.verdicts):
            counts = [self.verdicts[name, kind] for name in products]
            together = sum(counts, Counter())
            shown = together.total()
            cells = [f"{together[each] / shown:.1%}" for each in ("normal", "anomalous", "unfamiliar", "uncalibrated")]
            each = ", ".join(
                f"{name} {count['normal']}" for name, count in zip(products, counts, strict=True) if count["normal"]
            )
            yield f"| {kind} | {shown} | {' | '.join(cells)} | {each or 'none'} |"
        yield "\n| Product | References | Calibrated | One more | One less | Longest step | One search | Duplicates |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from self.timings
        yield ""


def expected(designs: Sequence[tuple[int, int, int]], size: int, rate: float) -> tuple[float, float]:
    """The central 95 % of the share of good parts rejected, when they are exchangeable with the references."""
    rng = np.random.default_rng(0)
    shares = []
    beyond = max(1, int(rate * (size + 1) + 1e-9))
    for _ in range(_SIMULATIONS):
        rejected = total = 0
        for references, sets, fresh in designs:
            known, new = rng.random(references), rng.random(fresh)
            for number in range(sets):
                level = np.partition(known[number * size : (number + 1) * size], -beyond)[-beyond]
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
    parser.add_argument("--odd", type=int, default=5, help="pictures of each kind of odd view (default 5)")
    parser.add_argument("--boards", type=Path, help="folder of real products in MVTec-AD's layout")
    parser.add_argument("--rate", type=float, default=0.01, help="false-reject rate of the verdicts (default 0.01)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    encoder, engine = load_encoder(EncoderSettings(device="cpu")), TorchEngine(torch.device("cpu"))
    lines = []
    study = Study(encoder, engine, (20, 50, 200))
    made = rendered(encoder, given.products, given.references, given.tests, given.odd)
    for product in track(made, "Rendered", total=len(given.products)):
        study.add(product, given.rate)
    names = ", ".join(given.products)
    lines += study.report(f"Rendered: {names}; {given.references} references each, at a rate of {given.rate:.1%}")
    if given.boards is not None:
        study = Study(encoder, engine, (20,))
        for product in track(list(real(encoder, given.boards, given.odd)), "Real"):
            study.add(product, 0.05)
        lines += study.report("Real boards (DeepPCB), at a rate of 5.0%")
    text = "\n".join(lines)
    Console().print(text, markup=False, soft_wrap=True)
    if given.write is not None:
        page = given.write.read_text()
        head, _, rest = page.partition("<!-- study:begin -->")
        _, _, tail = rest.partition("<!-- study:end -->")
        given.write.write_text(f"{head}<!-- study:begin -->\n{text}\n<!-- study:end -->{tail}")


if __name__ == "__main__":
    main()
