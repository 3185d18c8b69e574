"""What it does to good and defective parts when they are stored in another way than the references."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from indexer.calibration.adaptation import Adaptation, AdaptationBuilder
from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import LeaveOneOut, Steps, leave_one_out
from indexer.detection.decision import decide
from indexer.domain.encoding import Encoding
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.verdict import DecisionSettings
from indexer.encoders import Encoder, Features, preprocess
from indexer.imaging.encoding import apply_encoding
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics
from indexer.scoring.scoring import score_image
from indexer.search import PatchSearchEngine
from tests.study.products import Image, Images

SETTINGS = ScoringSettings()
_CATEGORY = "product"
JPEGS = tuple(
    Encoding("JPEG", True, 8, quality, subsampling)
    for quality, subsampling in ((95, "4:2:0"), (90, "4:4:4"), (90, "4:2:0"), (75, "4:2:0"), (50, "4:2:0"))
)


@dataclass
class _Shown:
    """Verdicts and scores of good and of defective parts."""

    good: list[bool] = field(default_factory=list)  # whether the verdict is normal
    defective: list[bool] = field(default_factory=list)
    auroc: list[float] = field(default_factory=list)  # of each product

    def cells(self) -> str:
        """Good parts that are not normal, defective ones that are not, and the mean AUROC."""
        rejected, found = self.good.count(False), self.defective.count(False)
        return f"{rejected} of {len(self.good)} | {found} of {len(self.defective)} | {np.mean(self.auroc):.3f}"


class _References:
    """One product's references, stored in one way, with their calibration."""

    def __init__(self, encoder: Encoder, engine: PatchSearchEngine, images: Sequence[Image]) -> None:
        self.encoder, self.engine, self.images = encoder, engine, images
        self.memory = MemoryBank.empty(encoder.space)
        for index, each in enumerate(images):
            encoded = self.memory.codec.encode(self.features(each))
            self.memory = self.memory.with_references([index], [_CATEGORY], encoded, index + 1)
        self.found: LeaveOneOut = _ended(leave_one_out(self.memory, engine, _CATEGORY, SETTINGS.k, SETTINGS.rho))
        measured = list(self.found.statistics(self.memory, self.memory.frame(_CATEGORY), SETTINGS))
        ids, statistics = [one for one, _ in measured], [each for _, each in measured]
        self.calibration = Calibration.from_statistics(
            _CATEGORY, self.memory.version, "", statistics, self.found.duplicates, ids
        )

    def features(self, image: Image) -> Features:
        return self.encoder.encode(preprocess(image, self.encoder.space.global_geometry)[None])

    def adapted(self, encoding: Encoding) -> Adaptation:
        """As the service calibrates for images that are stored so."""
        adapting = AdaptationBuilder(self.memory, self.engine, SETTINGS, self.found, self.calibration, len(self.images))
        for one in adapting.reference_ids:
            adapting.add(one, self.features(apply_encoding(self.images[one], encoding)))
        made = adapting.result()
        assert made is not None
        return made

    def show(
        self,
        shown: _Shown,
        parts: Images,
        store: Callable[[Image], Image],
        limits: DecisionSettings,
        adaptation: Adaptation | None = None,
    ) -> None:
        """Judge good and defective parts, stored in some way, by the own calibration or by an adaptation."""
        scores: dict[str, list[float]] = {}
        for kind, images in (("good", parts.good), ("defective", parts.defective)):
            for image in images:
                features = self.features(store(image))
                scored = score_image(self.memory, self.engine, features, SETTINGS, _CATEGORY)
                if adaptation is not None:
                    scored = adaptation.apply(scored, SETTINGS)
                statistics = ImageStatistics.from_scoring(scored, features, SETTINGS)
                calibration = self.calibration if adaptation is None else adaptation.calibration
                getattr(shown, kind).append(decide(statistics, calibration, limits).verdict == "normal")
                scores.setdefault(kind, []).append(statistics.score)
        good, bad = np.array(scores["good"]), np.array(scores["defective"])
        shown.auroc.append(float(((bad[:, None] > good) + 0.5 * (bad[:, None] == good)).mean()))


def _ended(steps: Steps) -> LeaveOneOut:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: LeaveOneOut = end.value
            return found


def codecs(
    title: str, encoder: Encoder, engine: PatchSearchEngine, products: Sequence[Images], rate: float, native: str
) -> Iterator[str]:
    """A table: each way of storing parts, judged by the category's own calibration and as the service judges it.

    native: what the references are stored as, in words.
    """
    limits = DecisionSettings(rate)
    usual, plain, adapted = _Shown(), [_Shown() for _ in JPEGS], [_Shown() for _ in JPEGS]
    finer, read_alike = _Shown(), _Shown()
    [coarse] = [each for each in JPEGS if (each.quality, each.subsampling) == (90, "4:2:0")]
    for product in products:
        references = _References(encoder, engine, product.references)
        references.show(usual, product, lambda image: image, limits)
        for encoding, before, after in zip(JPEGS, plain, adapted, strict=True):
            references.show(before, product, partial(apply_encoding, encoding=encoding), limits)
            references.show(
                after, product, partial(apply_encoding, encoding=encoding), limits, references.adapted(encoding)
            )
        references = _References(encoder, engine, [apply_encoding(each, coarse) for each in product.references])
        references.show(finer, product, lambda image: image, limits)
        references.show(read_alike, product, partial(apply_encoding, encoding=coarse), limits)
    yield f"### {title}\n"
    heads = "good not normal | defects not normal | image AUROC"
    yield f"| References | Parts | Own calibration: {heads} | As the service judges: {heads} |"
    yield f"|---|---|{'---|' * 6}"
    yield f"| {native} | alike | {usual.cells()} | {usual.cells()} |"
    for encoding, before, after in zip(JPEGS, plain, adapted, strict=True):
        yield f"| {native} | {encoding} | {before.cells()} | {after.cells()} |"
    yield f"| {coarse} | {native} | {finer.cells()} | {read_alike.cells()} |"
    yield ""
