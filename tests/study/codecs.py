"""The effect of encodings that differ from the references' on good and defective parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from indexer.calibration.adaptation import AdaptationBuilder
from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import run_leave_one_out
from indexer.detection.detector import Criteria, judge
from indexer.domain.category import CategorySettings
from indexer.domain.encoding import Encoding
from indexer.encoders import Encoder, Features
from indexer.imaging.encoding import apply_encoding
from indexer.search import PatchSearchEngine
from tests.study.onboarded import SCORING, Image, encode, geometry_of, memory_of
from tests.study.products import Images

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
        rejected, caught = self.good.count(False), self.defective.count(False)
        return f"{rejected} of {len(self.good)} | {caught} of {len(self.defective)} | {np.mean(self.auroc):.3f}"


class _References:
    """One product's references, stored in one way, with their calibration."""

    def __init__(self, encoder: Encoder, engine: PatchSearchEngine, images: Sequence[Image], rate: float) -> None:
        self.encoder, self.engine, self.images = encoder, engine, images
        self.geometry = geometry_of(encoder, images)
        references = [self.features(image) for image in images]
        self.memory = memory_of(encoder, {_CATEGORY: references}, {_CATEGORY: self.geometry})
        frame = self.memory.frame(_CATEGORY)
        self.searches = run_leave_one_out(self.memory, engine, _CATEGORY, SCORING)
        self.scoring = self.searches.balance_layers(frame, SCORING)
        measured = list(self.searches.statistics(self.memory, frame, self.scoring))
        self.calibration = Calibration.from_statistics(
            _CATEGORY,
            self.memory.version,
            "",
            [measures for _, measures in measured],
            self.searches.duplicates,
            [reference_id for reference_id, _ in measured],
            self.scoring.layer_weights,
        )
        self.criteria = Criteria.of(CategorySettings(false_reject_rate=rate), self.calibration)

    def features(self, image: Image) -> Features:
        return encode(self.encoder, image, self.geometry)

    def adapted(self, encoding: Encoding) -> Criteria:
        """As the service calibrates for images that are stored so."""
        builder = AdaptationBuilder(
            self.memory, self.engine, self.scoring, self.searches, self.calibration, len(self.images)
        )
        for reference_id in builder.reference_ids:
            builder.add(reference_id, self.features(apply_encoding(self.images[reference_id], encoding)))
        adaptation = builder.result()
        assert adaptation is not None
        return replace(self.criteria, calibration=adaptation.calibration, adaptation=adaptation, judged="adapted")

    def show(self, shown: _Shown, parts: Images, store: Callable[[Image], Image], criteria: Criteria) -> None:
        """Judge good and defective parts, stored in some way."""
        scores: dict[str, list[float]] = {}
        for kind, images in (("good", parts.good), ("defective", parts.defective)):
            for image in images:
                judged = judge(self.memory, self.engine, self.features(store(image)), _CATEGORY, criteria)
                getattr(shown, kind).append(judged.decision.verdict == "normal")
                scores.setdefault(kind, []).append(judged.measures.score)
        good, bad = np.array(scores["good"]), np.array(scores["defective"])
        shown.auroc.append(float(((bad[:, None] > good) + 0.5 * (bad[:, None] == good)).mean()))


def codecs(
    title: str, encoder: Encoder, engine: PatchSearchEngine, products: Sequence[Images], rate: float, native: str
) -> Iterator[str]:
    """A table: each way of storing parts, judged by the category's own calibration and as the service judges it.

    native: what the references are stored as, in words.
    """
    usual, plain, adapted = _Shown(), [_Shown() for _ in JPEGS], [_Shown() for _ in JPEGS]
    finer, read_alike = _Shown(), _Shown()
    [coarse] = [jpeg for jpeg in JPEGS if (jpeg.quality, jpeg.subsampling) == (90, "4:2:0")]
    for product in products:
        references = _References(encoder, engine, product.references, rate)
        references.show(usual, product, lambda image: image, references.criteria)
        for encoding, before, after in zip(JPEGS, plain, adapted, strict=True):
            store = partial(apply_encoding, encoding=encoding)
            references.show(before, product, store, references.criteria)
            references.show(after, product, store, references.adapted(encoding))
        references = _References(
            encoder, engine, [apply_encoding(reference, coarse) for reference in product.references], rate
        )
        references.show(finer, product, lambda image: image, references.criteria)
        references.show(read_alike, product, partial(apply_encoding, encoding=coarse), references.criteria)
    yield f"### {title}\n"
    heads = "good not normal | defects not normal | image AUROC"
    yield f"| References | Parts | Own calibration: {heads} | As the service judges: {heads} |"
    yield f"|---|---|{'---|' * 6}"
    yield f"| {native} | alike | {usual.cells()} | {usual.cells()} |"
    for encoding, before, after in zip(JPEGS, plain, adapted, strict=True):
        yield f"| {native} | {encoding} | {before.cells()} | {after.cells()} |"
    yield f"| {coarse} | {native} | {finer.cells()} | {read_alike.cells()} |"
    yield ""
